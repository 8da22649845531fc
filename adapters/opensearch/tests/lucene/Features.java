import java.util.Random;
import org.apache.lucene.analysis.core.KeywordAnalyzer;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.FeatureField;
import org.apache.lucene.document.StoredField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.search.BooleanClause.Occur;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.BoostQuery;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.store.ByteBuffersDirectory;
import org.apache.lucene.store.Directory;

/** Prints what Lucene scores: one value per document, and random codes; features.json is its output. */
public class Features {
  static final String FIELD = "code";

  public static void main(String[] arguments) throws Exception {
    float[] values = {
      Float.MIN_NORMAL, 1e-30f, 1e-6f, 0.1f, 1 / 3f, 0.5f, 0.50195312f, 0.50097656f, 0.999f,
      0.9999999f, 1f, 1.0039062f, 1.0039061f, 3.14159f, 64f, 65504f, 16777217f, Float.MAX_VALUE
    };
    StringBuilder out = new StringBuilder("{\"singles\": [\n");
    for (int i = 0; i < values.length; i++) {
      float score = scores(new float[][] {{values[i]}}, new int[][] {{0}}, new float[] {1}, new int[] {0})[0];
      out.append(String.format(" [%s, %s]%s\n", values[i], score, i + 1 < values.length ? "," : ""));
    }
    Random random = new Random(7);
    int n = 40, k = 8, latents = 32;
    int[][] indices = new int[n][];
    float[][] weights = new float[n][];
    for (int row = 0; row < n; row++) {
      indices[row] = random.ints(0, latents).distinct().limit(k).sorted().toArray();
      weights[row] = new float[k];
      for (int j = 0; j < k; j++) weights[row][j] = random.nextFloat() + 0.01f;
    }
    int[] asked = random.ints(0, latents).distinct().limit(12).sorted().toArray();
    float[] boosts = new float[asked.length];
    for (int j = 0; j < boosts.length; j++) boosts[j] = random.nextFloat() + 0.01f;
    float[] scores = scores(weights, indices, boosts, asked);
    out.append("], \"indices\": ").append(java.util.Arrays.deepToString(indices));
    out.append(",\n\"values\": ").append(java.util.Arrays.deepToString(weights));
    out.append(",\n\"asked\": ").append(java.util.Arrays.toString(asked));
    out.append(",\n\"boosts\": ").append(java.util.Arrays.toString(boosts));
    out.append(",\n\"scores\": ").append(java.util.Arrays.toString(scores)).append("}");
    System.out.println(out);
  }

  /** Scores documents as a bool of rank_feature queries with linear and a boost does; 0 if not found. */
  static float[] scores(float[][] values, int[][] indices, float[] boosts, int[] asked) throws Exception {
    try (Directory folder = new ByteBuffersDirectory()) {
      try (IndexWriter writer = new IndexWriter(folder, new IndexWriterConfig(new KeywordAnalyzer()))) {
        for (int row = 0; row < values.length; row++) {
          Document document = new Document();
          document.add(new StoredField("row", row));
          for (int j = 0; j < values[row].length; j++) {
            document.add(new FeatureField(FIELD, Integer.toString(indices[row][j]), values[row][j]));
          }
          writer.addDocument(document);
        }
      }
      try (DirectoryReader reader = DirectoryReader.open(folder)) {
        IndexSearcher searcher = new IndexSearcher(reader);
        BooleanQuery.Builder all = new BooleanQuery.Builder();
        for (int j = 0; j < asked.length; j++) {
          Query one = FeatureField.newLinearQuery(FIELD, Integer.toString(asked[j]), 1f);
          all.add(new BoostQuery(one, boosts[j]), Occur.SHOULD);
        }
        float[] found = new float[values.length];
        for (ScoreDoc hit : searcher.search(all.build(), values.length).scoreDocs) {
          found[searcher.doc(hit.doc).getField("row").numericValue().intValue()] = hit.score;
        }
        return found;
      }
    }
  }
}
