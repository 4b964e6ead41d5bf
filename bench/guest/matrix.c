/* Matrices of doubles multiplied by packed SSE2, larger than the first-level cache. */
#include <emmintrin.h>
#include <string.h>

#include "bench.h"

enum { side = 320 };
static double a[side][side] __attribute__((aligned(16))), b[side][side] __attribute__((aligned(16)));
static double c[side][side] __attribute__((aligned(16)));

int main(void) {
  for (int i = 0; i < side; ++i)
    for (int j = 0; j < side; ++j) a[i][j] = (i + 2 * j) % 17 * 0.25, b[i][j] = (3 * i - j) % 13 * 0.5;
  bench_begin();
  for (int round = 0; round < 6; ++round) {
    memset(c, 0, sizeof c);
    for (int i = 0; i < side; ++i) {
      for (int k = 0; k < side; ++k) {
        __m128d factor = _mm_set1_pd(a[i][k]);
        for (int j = 0; j < side; j += 2)
          _mm_store_pd(&c[i][j], _mm_add_pd(_mm_load_pd(&c[i][j]), _mm_mul_pd(factor, _mm_load_pd(&b[k][j]))));
      }
    }
    a[round][round] += c[round][side - 1] * 0.001;
  }
  uint64_t bits;
  memcpy(&bits, &c[side / 3][side / 5], sizeof bits);
  bench_end("matrix", bits);
}
