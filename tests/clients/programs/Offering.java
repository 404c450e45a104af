import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Sends a picture as a client does that is told nothing: it offers HTTP/2 with each request until it is answered. */
public class Offering {
    public static void main(String[] words) throws Exception {
        byte[] picture = Files.readAllBytes(Path.of(words[1]));
        List<BodyPublisher> bodies =
                List.of(
                        BodyPublishers.ofByteArray(picture),
                        BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(picture)));
        StringBuilder told = new StringBuilder("[");
        for (BodyPublisher body : bodies) {
            HttpClient client = HttpClient.newHttpClient();
            for (int turn = 0; turn < 3; turn++) {
                HttpRequest request =
                        HttpRequest.newBuilder(URI.create(words[0]))
                                .header("Content-Type", "image/jpeg")
                                .header("X-Request-ID", "turn-" + turn)
                                .POST(body)
                                .build();
                HttpResponse<String> answer = client.send(request, BodyHandlers.ofString());
                told.append(told.length() > 1 ? "," : "").append("[").append(answer.statusCode());
                told.append(",").append(answer.body()).append("]");
            }
        }
        System.out.println(told.append("]"));
    }
}
