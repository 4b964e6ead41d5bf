/* SSE2 on data in the first-level cache: multiply-add of floats, and packed integers. */
#include <emmintrin.h>

#include "bench.h"

static float a[2048] __attribute__((aligned(16))), b[2048] __attribute__((aligned(16)));

int main(void) {
  for (int i = 0; i < 2048; ++i) a[i] = (float)i * 0.25f, b[i] = (float)(2048 - i) * 0.5f;
  bench_begin();
  __m128 sum = _mm_setzero_ps();
  __m128i bits = _mm_set1_epi32(0x12345);
  for (int round = 0; round < 100000; ++round) {
    __m128 factor = _mm_set1_ps((float)(round & 7));
    for (int i = 0; i < 2048; i += 4) {
      sum = _mm_add_ps(_mm_mul_ps(_mm_load_ps(a + i), factor), _mm_add_ps(sum, _mm_load_ps(b + i)));
      bits = _mm_add_epi32(_mm_xor_si128(bits, _mm_castps_si128(sum)), _mm_shuffle_epi32(bits, 0x39));
    }
    sum = _mm_mul_ps(sum, _mm_set1_ps(0.0001f));
  }
  uint64_t out[2];
  _mm_storeu_si128((__m128i *)out, bits);
  bench_end("sse", out[0] ^ out[1]);
}
