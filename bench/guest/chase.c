/* Follows pointers in random order through 32 MiB: each load waits for the one before. */
#include "bench.h"

int main(void) {
  enum { count = 1 << 19, stride = 8 };  /* one pointer per cache line */
  uint64_t *next = malloc((size_t)count * stride * sizeof *next);
  uint32_t *order = malloc(count * sizeof *order);
  bench_cycle(next, order, count, stride, 99);
  bench_begin();
  uint64_t at = 0;
  for (int i = 0; i < 1000000; ++i) at = next[at];
  bench_end("chase", at);
}
