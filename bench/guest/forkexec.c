/* Processes: fork, exec of this program, exit, wait. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "end") == 0) _exit(7);
  uint64_t sum = 0;
  bench_begin();
  for (int i = 0; i < 150; ++i) {
    pid_t child = fork();
    if (child == 0) {
      execl("/proc/self/exe", argv[0], "end", (char *)NULL);
      _exit(1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    sum += (uint64_t)WEXITSTATUS(status);
  }
  bench_end("forkexec", sum);
}
