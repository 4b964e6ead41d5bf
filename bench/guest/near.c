/* Follows pointers in random order through 256 KiB, which second-level caches hold. */
#include "bench.h"

int main(void) {
  enum { count = 1 << 12, stride = 8 };  /* one pointer per cache line */
  static uint64_t next[count * stride];
  static uint32_t order[count];
  uint64_t seed = 77;
  for (int i = 0; i < count; ++i) order[i] = (uint32_t)i;
  for (int i = count - 1; i > 0; --i) {
    int j = (int)(bench_random(&seed) % (uint64_t)(i + 1));
    uint32_t swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
  for (int i = 0; i < count; ++i) next[order[i] * stride] = (uint64_t)order[(i + 1) % count] * stride;
  bench_begin();
  uint64_t at = 0;
  for (int i = 0; i < 25000000; ++i) at = next[at];
  bench_end("near", at);
}
