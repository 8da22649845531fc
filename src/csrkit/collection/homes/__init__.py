"""The homes of a job: a Qdrant Edge shard, a collection of a Qdrant server."""
