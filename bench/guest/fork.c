/* Processes without exec: fork of a process with a few megabytes, a write to some of them in the child, exit, wait. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

int main(void) {
  enum { size = 4 << 20 };
  volatile unsigned char *memory = malloc(size);
  memset((void *)memory, 1, size);
  uint64_t sum = 0;
  bench_begin();
  for (int i = 0; i < 150; ++i) {
    pid_t child = fork();
    if (child == 0) {
      for (int at = 0; at < size; at += 64 << 10) memory[at] = (unsigned char)i;
      _exit(memory[0] & 63);
    }
    int status = 0;
    waitpid(child, &status, 0);
    sum += (uint64_t)WEXITSTATUS(status);
  }
  bench_end("fork", sum);
}
