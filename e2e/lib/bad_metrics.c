// Stands in for a server whose /metrics is of no use: `bad_metrics slow|rubbish|endless` answers on port 8080.
#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
static const char RUBBISH[] = "<html>\n{}{{ 1e999 }\nllm_generation_tokens_total{model=\"x\" NaN NaN\n\"\\\xff\n";

static void answer(int client, const char *kind) {
  char request[4096];
  if (read(client, request, sizeof request) <= 0) return;
  if (strcmp(kind, "slow") == 0) sleep(30);
  if (write(client, HEAD, sizeof HEAD - 1) < 0) return;
  do {
    if (write(client, RUBBISH, sizeof RUBBISH - 1) < 0) return;
  } while (strcmp(kind, "endless") == 0);
}

int main(int count, char **arguments) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (count != 2 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) return 1;
  signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    int client = accept(listener, NULL, NULL);
    if (fork() == 0) {
      close(listener);
      answer(client, arguments[1]);
      return 0;
    }
    close(client);
  }
}
