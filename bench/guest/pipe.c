/* One byte to and fro between two processes. */
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

int main(void) {
  int there[2], back[2];
  if (pipe(there) != 0 || pipe(back) != 0) return 1;
  enum { rounds = 20000 };
  if (fork() == 0) {
    char c;
    for (int i = 0; i < rounds; ++i)
      if (read(there[0], &c, 1) != 1 || write(back[1], &c, 1) != 1) _exit(1);
    _exit(0);
  }
  uint64_t sum = 0;
  bench_begin();
  for (int i = 0; i < rounds; ++i) {
    char c = (char)i;
    if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1) return 1;
    sum += (uint64_t)(unsigned char)c;
  }
  bench_end("pipe", sum);
  wait(NULL);
}
