// Measures a network from either end; static, so that it runs inside small guests.
//   netbench serve PORT            answers clients, each in a process of its own; what they want they say first
//   netbench send HOST PORT MIB    client → server;   netbench recv HOST PORT MIB    server → client
//   netbench trips HOST PORT N     round trips of one byte
// A client prints "net NAME VALUE CHECKSUM": MB/s (10^6 bytes) or trips per second. Both sides sum what they saw; the server's
// sum of a "send" comes back at its end and must agree.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { chunk = 256 * 1024 };
static uint64_t buffer[chunk / 8];

static void die(const char* what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void send_all(int fd, const void* data, size_t size) {
  for (const char* p = data; size > 0;) {
    const ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
    if (n <= 0) die("send");
    p += n, size -= (size_t)n;
  }
}

static void recv_all(int fd, void* data, size_t size) {
  for (char* p = data; size > 0;) {
    const ssize_t n = recv(fd, p, size, 0);
    if (n <= 0) die("recv");
    p += n, size -= (size_t)n;
  }
}

// Position-dependent, so that a lost, doubled or swapped chunk shows; one word in 64 is looked at, for the guest's sake.
static void fill(uint64_t number) {
  for (size_t i = 0; i < chunk / 8; i += 64) buffer[i] = (number + 1) * 0x9e3779b97f4a7c15u + i;
}
static uint64_t sum_up(uint64_t sum) {
  for (size_t i = 0; i < chunk / 8; i += 64) sum = (sum << 5 | sum >> 59) ^ buffer[i];
  return sum;
}

static uint64_t stream_out(int fd, uint64_t chunks) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < chunks; ++i) {
    fill(i);
    sum = sum_up(sum);
    send_all(fd, buffer, chunk);
  }
  return sum;
}

static uint64_t stream_in(int fd, uint64_t chunks) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < chunks; ++i) {
    recv_all(fd, buffer, chunk);
    sum = sum_up(sum);
  }
  return sum;
}

static void serve_one(int fd) {
  struct { uint64_t kind, count; } order;
  recv_all(fd, &order, sizeof order);
  uint64_t sum = 0;
  if (order.kind == 's') sum = stream_in(fd, order.count);
  if (order.kind == 'r') sum = stream_out(fd, order.count);
  for (char byte; order.kind == 't' && order.count > 0; --order.count) {
    recv_all(fd, &byte, 1);
    send_all(fd, &byte, 1);
  }
  send_all(fd, &sum, sizeof sum);
  close(fd);
}

static struct sockaddr_in address_of(const char* host, const char* port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET, host, &a.sin_addr) != 1) die("address");
  return a;
}

static int serve(const char* port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  struct sockaddr_in a = address_of("0.0.0.0", port);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr*)&a, sizeof a) != 0 || listen(listener, 16) != 0) die("listen");
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    const int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fork() == 0) {
      serve_one(fd);
      _exit(0);
    }
    close(fd);
  }
}

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "serve") == 0) return serve(argv[2]);
  if (argc != 5) {
    fprintf(stderr, "usage: netbench serve PORT | send|recv HOST PORT MIB | trips HOST PORT N\n");
    return 2;
  }
  const int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in a = address_of(argv[2], argv[3]);
  if (connect(fd, (struct sockaddr*)&a, sizeof a) != 0) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  const uint64_t amount = strtoull(argv[4], NULL, 10);
  const int kind = argv[1][0];
  struct { uint64_t kind, count; } order = {(uint64_t)kind, kind == 't' ? amount : amount * (1 << 20) / chunk};
  uint64_t sum = 0, theirs = 0;
  const double start = now();
  send_all(fd, &order, sizeof order);
  if (kind == 's') sum = stream_out(fd, order.count);
  if (kind == 'r') sum = stream_in(fd, order.count);
  for (uint64_t i = 0; kind == 't' && i < amount; ++i) {
    char byte = (char)i, back;
    send_all(fd, &byte, 1);
    recv_all(fd, &back, 1);
    if (back != byte) sum = 1;
  }
  recv_all(fd, &theirs, sizeof theirs);
  const double seconds = now() - start;
  if (theirs != sum) {
    fprintf(stderr, "netbench: the sums differ: %llx here, %llx there\n", (unsigned long long)sum, (unsigned long long)theirs);
    return 1;
  }
  printf("net %s %.1f %llx\n", argv[1], kind == 't' ? (double)amount / seconds : (double)order.count * chunk / seconds / 1e6,
         (unsigned long long)sum);
  return 0;
}
