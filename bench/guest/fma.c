/* Double precision by AVX2 and FMA: polynomials of many numbers at once. */
#include <immintrin.h>
#include <string.h>

#include "bench.h"

static double numbers[2048] __attribute__((aligned(32)));

__attribute__((target("avx2,fma"))) static double work(void) {
  for (int round = 0; round < 40000; ++round) {
    for (int i = 0; i < 2048; i += 4) {
      __m256d x = _mm256_load_pd(numbers + i), y = _mm256_set1_pd(0.125);
      for (int term = 0; term < 4; ++term) y = _mm256_fmadd_pd(y, x, _mm256_set1_pd(0.0625 * term));
      _mm256_store_pd(numbers + i, _mm256_fnmadd_pd(x, _mm256_set1_pd(0.5), y));
    }
  }
  return numbers[7];
}

int main(void) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    bench_absent("fma");
    return 0;
  }
  for (int i = 0; i < 2048; ++i) numbers[i] = i / 4096.0;
  bench_begin();
  double result = work();
  uint64_t bits;
  memcpy(&bits, &result, sizeof bits);
  bench_end("fma", bits);
}
