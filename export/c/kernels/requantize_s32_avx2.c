/* needs: requantized */
#include <immintrin.h>
/* Eight at a time: even and odd ones multiplied to 64 bits, shifted and clipped there, and put together again. AVX2
   has no arithmetic shift of 64 bits: 2^63 is added before the logical one, and 2^(63 - shift) taken away after it.
   */
static void requantize_s32(int32_t *y, const int32_t *acc, const int32_t *multiplier, size_t count, size_t stride01,
                           unsigned shift, int32_t zero_point, int32_t low, int32_t high)
{
    const __m256i sign = _mm256_slli_epi64(_mm256_set1_epi64x(1), 63);
    const __m128i places = _mm_cvtsi32_si128((int)shift);
    /* What is added before the shift and after it. */
    const __m256i before = _mm256_add_epi64(_mm256_set1_epi64x(shift == 0 ? 0 : 1LL << (shift - 1)), sign);
    const __m256i after = _mm256_sub_epi64(_mm256_set1_epi64x(zero_point), _mm256_srl_epi64(sign, places));
    const __m256i lowest = _mm256_set1_epi64x(low), highest = _mm256_set1_epi64x(high);
    size_t n = 0;
    for (; count - n >= 8; n += 8) {
        const __m256i sum = _mm256_loadu_si256((const __m256i *)(acc + n));
        const __m256i factor =
            stride01 == 0 ? _mm256_set1_epi32(*multiplier) : _mm256_loadu_si256((const __m256i *)(multiplier + n));
        __m256i even = _mm256_mul_epi32(sum, factor);
        __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(sum, 32), _mm256_srli_epi64(factor, 32));
        even = _mm256_add_epi64(_mm256_srl_epi64(_mm256_add_epi64(even, before), places), after);
        odd = _mm256_add_epi64(_mm256_srl_epi64(_mm256_add_epi64(odd, before), places), after);
        even = _mm256_blendv_epi8(even, lowest, _mm256_cmpgt_epi64(lowest, even));
        odd = _mm256_blendv_epi8(odd, lowest, _mm256_cmpgt_epi64(lowest, odd));
        even = _mm256_blendv_epi8(even, highest, _mm256_cmpgt_epi64(even, highest));
        odd = _mm256_blendv_epi8(odd, highest, _mm256_cmpgt_epi64(odd, highest));
        const __m256i value = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
        _mm256_storeu_si256((__m256i *)(y + n), value);
    }
    for (; n < count; ++n) {
        y[n] = requantized(acc[n], multiplier[n * stride01], shift, zero_point, low, high);
    }
}
