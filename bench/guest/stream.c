/* Streams through memory far larger than the caches. */
#include <string.h>

#include "bench.h"

int main(void) {
  enum { count = 4 << 20 };
  double *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b), *c = malloc(count * sizeof *c);
  for (int i = 0; i < count; ++i) a[i] = i, b[i] = 2.0 * i, c[i] = 0;
  bench_begin();
  for (int round = 0; round < 8; ++round) {
    for (int i = 0; i < count; ++i) c[i] = a[i] + 0.5 * b[i];
    memcpy(a, b, count * sizeof *a);
    double *swap = b;
    b = c;
    c = swap;
  }
  bench_end("stream", (uint64_t)(b[count / 3] + a[count / 5]));
}
