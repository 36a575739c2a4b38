#include <immintrin.h>
/* vpdpbusd twice a field: x = 256 h + l with bytes h (signed) and l (unsigned), each times the field's bit. The
   product is the sum of all x less twice the sum at set bits. */
static void matvec_s16_w1(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const __m512i low = _mm512_set1_epi32(0x06040200), high = _mm512_set1_epi32(0x07050301), one = _mm512_set1_epi8(1);
    /* The sum of x, in every lane; all modulo 2^32. */
    const __m512i share = _mm512_set1_epi16(1);
    __m512i total = _mm512_setzero_si512();
    for (size_t column = 0; column < columns; column += 32) {
        const __mmask32 valid = columns - column < 32 ? ((__mmask32)1 << (columns - column)) - 1 : ~(__mmask32)0;
        total = _mm512_dpwssd_epi32(total, _mm512_maskz_loadu_epi16(valid, x + column), share);
    }
    total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0x4e));
    total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0xb1));
    total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0x4e));
    total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0xb1));
    const size_t tile = MODEL_TILE * columns / 8;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        const uint8_t *w = weight + row / MODEL_TILE * tile;
        __m512i a0 = _mm512_setzero_si512(), a1 = a0, b0 = a0, b1 = a0;
        for (size_t column = 0, at = 0; column < columns; column += 32, at += 64) {
            int64_t word0, word1, word2, word3, word4, word5, word6, word7;
            memcpy(&word0, x + column, sizeof word0);
            memcpy(&word1, x + column + 4, sizeof word1);
            memcpy(&word2, x + column + 8, sizeof word2);
            memcpy(&word3, x + column + 12, sizeof word3);
            memcpy(&word4, x + column + 16, sizeof word4);
            memcpy(&word5, x + column + 20, sizeof word5);
            memcpy(&word6, x + column + 24, sizeof word6);
            memcpy(&word7, x + column + 28, sizeof word7);
            const __m512i bits = _mm512_loadu_si512(w + at);
            const __m512i x0 = _mm512_set1_epi64(word0), c0 = _mm512_and_si512(bits, one);
            a0 = _mm512_dpbusd_epi32(a0, _mm512_shuffle_epi8(x0, low), c0);
            b0 = _mm512_dpbusd_epi32(b0, c0, _mm512_shuffle_epi8(x0, high));
            const __m512i x1 = _mm512_set1_epi64(word1), c1 = _mm512_and_si512(_mm512_srli_epi16(bits, 1), one);
            a1 = _mm512_dpbusd_epi32(a1, _mm512_shuffle_epi8(x1, low), c1);
            b1 = _mm512_dpbusd_epi32(b1, c1, _mm512_shuffle_epi8(x1, high));
            const __m512i x2 = _mm512_set1_epi64(word2), c2 = _mm512_and_si512(_mm512_srli_epi16(bits, 2), one);
            a0 = _mm512_dpbusd_epi32(a0, _mm512_shuffle_epi8(x2, low), c2);
            b0 = _mm512_dpbusd_epi32(b0, c2, _mm512_shuffle_epi8(x2, high));
            const __m512i x3 = _mm512_set1_epi64(word3), c3 = _mm512_and_si512(_mm512_srli_epi16(bits, 3), one);
            a1 = _mm512_dpbusd_epi32(a1, _mm512_shuffle_epi8(x3, low), c3);
            b1 = _mm512_dpbusd_epi32(b1, c3, _mm512_shuffle_epi8(x3, high));
            const __m512i x4 = _mm512_set1_epi64(word4), c4 = _mm512_and_si512(_mm512_srli_epi16(bits, 4), one);
            a0 = _mm512_dpbusd_epi32(a0, _mm512_shuffle_epi8(x4, low), c4);
            b0 = _mm512_dpbusd_epi32(b0, c4, _mm512_shuffle_epi8(x4, high));
            const __m512i x5 = _mm512_set1_epi64(word5), c5 = _mm512_and_si512(_mm512_srli_epi16(bits, 5), one);
            a1 = _mm512_dpbusd_epi32(a1, _mm512_shuffle_epi8(x5, low), c5);
            b1 = _mm512_dpbusd_epi32(b1, c5, _mm512_shuffle_epi8(x5, high));
            const __m512i x6 = _mm512_set1_epi64(word6), c6 = _mm512_and_si512(_mm512_srli_epi16(bits, 6), one);
            a0 = _mm512_dpbusd_epi32(a0, _mm512_shuffle_epi8(x6, low), c6);
            b0 = _mm512_dpbusd_epi32(b0, c6, _mm512_shuffle_epi8(x6, high));
            const __m512i x7 = _mm512_set1_epi64(word7), c7 = _mm512_and_si512(_mm512_srli_epi16(bits, 7), one);
            a1 = _mm512_dpbusd_epi32(a1, _mm512_shuffle_epi8(x7, low), c7);
            b1 = _mm512_dpbusd_epi32(b1, c7, _mm512_shuffle_epi8(x7, high));
        }
        const __m512i set = _mm512_add_epi32(_mm512_add_epi32(a0, a1), _mm512_slli_epi32(_mm512_add_epi32(b0, b1), 8));
        const __m512i sum = _mm512_sub_epi32(total, _mm512_slli_epi32(set, 1));
        int32_t *y = acc + row;
        _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), sum));
    }
}
