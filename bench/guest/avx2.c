/* AVX2 and FMA on data in the first-level cache. */
#include <immintrin.h>

#include "bench.h"

static int32_t data[4096] __attribute__((aligned(32)));
static float reals[4096] __attribute__((aligned(32)));

__attribute__((target("avx2,fma"))) static uint64_t work(void) {
  __m256i sum = _mm256_setzero_si256();
  __m256 total = _mm256_setzero_ps();
  for (int round = 0; round < 30000; ++round) {
    __m256i salt = _mm256_set1_epi32(round);
    for (int i = 0; i < 4096; i += 8) {
      __m256i value = _mm256_load_si256((const __m256i *)(data + i));
      value = _mm256_add_epi32(_mm256_mullo_epi32(value, salt), _mm256_srli_epi32(value, 3));
      sum = _mm256_xor_si256(_mm256_permute4x64_epi64(sum, 0x39), _mm256_shuffle_epi32(value, 0x1b));
      total = _mm256_fmadd_ps(_mm256_load_ps(reals + i), _mm256_set1_ps(0.5f), _mm256_mul_ps(total, _mm256_set1_ps(0.25f)));
    }
  }
  uint64_t out[4];
  _mm256_storeu_si256((__m256i *)out, _mm256_xor_si256(sum, _mm256_castps_si256(total)));
  return out[0] ^ out[1] ^ out[2] ^ out[3];
}

int main(void) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    bench_absent("avx2");
    return 0;
  }
  for (int i = 0; i < 4096; ++i) data[i] = i * 77, reals[i] = (float)i;
  bench_begin();
  bench_end("avx2", work());
}
