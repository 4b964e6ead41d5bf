/* Follows pointers in random order through 256 KiB, which second-level caches hold. */
#include "bench.h"

int main(void) {
  enum { count = 1 << 12, stride = 8 };  /* one pointer per cache line */
  static uint64_t next[count * stride];
  static uint32_t order[count];
  bench_cycle(next, order, count, stride, 77);
  bench_begin();
  uint64_t at = 0;
  for (int i = 0; i < 25000000; ++i) at = next[at];
  bench_end("near", at);
}
