/* needs: requantized */
#include <immintrin.h>
/* Sixteen at a time: even and odd ones multiplied to 64 bits, shifted and clipped there, and put together again. */
static void requantize_u8(uint8_t *y, const int32_t *acc, const int32_t *multiplier, size_t count, size_t stride01,
                          unsigned shift, int32_t zero_point, int32_t low, int32_t high)
{
    if (count == 1) {
        *y = (uint8_t)requantized(*acc, *multiplier, shift, zero_point, low, high);
        return;
    }
    const __m512i half = _mm512_set1_epi64(shift == 0 ? 0 : 1LL << (shift - 1)), zero = _mm512_set1_epi64(zero_point);
    const __m512i lowest = _mm512_set1_epi64(low), highest = _mm512_set1_epi64(high);
    const __m128i places = _mm_cvtsi32_si128((int)shift);
    __m512i factor = _mm512_set1_epi32(count == 0 ? 0 : multiplier[0]);
    for (size_t n = 0; n < count; n += 16) {
        const __mmask16 valid = (__mmask16)(count - n < 16 ? (1u << (count - n)) - 1 : 0xffffu);
        const __m512i sum = _mm512_maskz_loadu_epi32(valid, acc + n);
        if (stride01 != 0) {
            factor = _mm512_maskz_loadu_epi32(valid, multiplier + n);
        }
        __m512i even = _mm512_mul_epi32(sum, factor);
        __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(sum, 32), _mm512_srli_epi64(factor, 32));
        even = _mm512_add_epi64(_mm512_sra_epi64(_mm512_add_epi64(even, half), places), zero);
        odd = _mm512_add_epi64(_mm512_sra_epi64(_mm512_add_epi64(odd, half), places), zero);
        even = _mm512_min_epi64(_mm512_max_epi64(even, lowest), highest);
        odd = _mm512_min_epi64(_mm512_max_epi64(odd, lowest), highest);
        const __m512i value = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
        _mm512_mask_cvtepi32_storeu_epi8(y + n, valid, value);
    }
}
