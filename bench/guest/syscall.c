/* System calls that do almost nothing. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

int main(void) {
  uint64_t sum = 0;
  bench_begin();
  for (int i = 0; i < 200000; ++i) sum += (uint64_t)syscall(SYS_getppid) != 0;
  bench_end("syscall", sum);
}
