/* Follows pointers in random order through 32 MiB: each load waits for the one before. */
#include "bench.h"

int main(void) {
  enum { count = 1 << 19, stride = 8 };  /* one pointer per cache line */
  uint64_t *next = malloc((size_t)count * stride * sizeof *next);
  uint32_t *order = malloc(count * sizeof *order);
  uint64_t seed = 99;
  for (int i = 0; i < count; ++i) order[i] = (uint32_t)i;
  for (int i = count - 1; i > 0; --i) {
    int j = (int)(bench_random(&seed) % (uint64_t)(i + 1));
    uint32_t swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
  for (int i = 0; i < count; ++i) next[(size_t)order[i] * stride] = (uint64_t)order[(i + 1) % count] * stride;
  bench_begin();
  uint64_t at = 0;
  for (int i = 0; i < 1000000; ++i) at = next[at];
  bench_end("chase", at);
}
