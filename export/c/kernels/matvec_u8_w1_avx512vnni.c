#include <immintrin.h>
/* vpdpbusd of bits that stay where they are in their byte: field j gives 2^j times the sum of x at its set bits, the
   highest one -128 times. The product is the sum of all x less twice the sum at set bits. */
static void matvec_u8_w1(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    /* The sum of x, in every lane. */
    const __m512i share = _mm512_set1_epi8(1);
    __m512i total = _mm512_setzero_si512();
    for (size_t column = 0; column < columns; column += 64) {
        const __mmask64 valid = columns - column < 64 ? ((__mmask64)1 << (columns - column)) - 1 : ~(__mmask64)0;
        total = _mm512_dpbusd_epi32(total, _mm512_maskz_loadu_epi8(valid, x + column), share);
    }
    total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0x4e));
    total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0xb1));
    total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0x4e));
    total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0xb1));
    const size_t tile = MODEL_TILE * columns / 8;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        const uint8_t *w = weight + row / MODEL_TILE * tile;
        __m512i set = _mm512_setzero_si512();
        for (size_t start = 0, at = 0; start < columns;) {
            /* So many columns that 128 times their sum stays within 32 bits. */
            const size_t end = columns - start < 32768 ? columns : start + 32768;
            __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
            __m512i sum4 = sum0, sum5 = sum0, sum6 = sum0, sum7 = sum0;
            for (size_t column = start; column < end; column += 32, at += 64) {
                int32_t word0, word1, word2, word3, word4, word5, word6, word7;
                memcpy(&word0, x + column, sizeof word0);
                memcpy(&word1, x + column + 4, sizeof word1);
                memcpy(&word2, x + column + 8, sizeof word2);
                memcpy(&word3, x + column + 12, sizeof word3);
                memcpy(&word4, x + column + 16, sizeof word4);
                memcpy(&word5, x + column + 20, sizeof word5);
                memcpy(&word6, x + column + 24, sizeof word6);
                memcpy(&word7, x + column + 28, sizeof word7);
                const __m512i bits = _mm512_loadu_si512(w + at);
                const __m512i set0 = _mm512_and_si512(bits, _mm512_set1_epi8(0x01));
                sum0 = _mm512_dpbusd_epi32(sum0, _mm512_set1_epi32(word0), set0);
                const __m512i set1 = _mm512_and_si512(bits, _mm512_set1_epi8(0x02));
                sum1 = _mm512_dpbusd_epi32(sum1, _mm512_set1_epi32(word1), set1);
                const __m512i set2 = _mm512_and_si512(bits, _mm512_set1_epi8(0x04));
                sum2 = _mm512_dpbusd_epi32(sum2, _mm512_set1_epi32(word2), set2);
                const __m512i set3 = _mm512_and_si512(bits, _mm512_set1_epi8(0x08));
                sum3 = _mm512_dpbusd_epi32(sum3, _mm512_set1_epi32(word3), set3);
                const __m512i set4 = _mm512_and_si512(bits, _mm512_set1_epi8(0x10));
                sum4 = _mm512_dpbusd_epi32(sum4, _mm512_set1_epi32(word4), set4);
                const __m512i set5 = _mm512_and_si512(bits, _mm512_set1_epi8(0x20));
                sum5 = _mm512_dpbusd_epi32(sum5, _mm512_set1_epi32(word5), set5);
                const __m512i set6 = _mm512_and_si512(bits, _mm512_set1_epi8(0x40));
                sum6 = _mm512_dpbusd_epi32(sum6, _mm512_set1_epi32(word6), set6);
                const __m512i set7 = _mm512_and_si512(bits, _mm512_set1_epi8(-0x80));
                sum7 = _mm512_dpbusd_epi32(sum7, _mm512_set1_epi32(word7), set7);
            }
            set = _mm512_add_epi32(set, sum0);
            set = _mm512_add_epi32(set, _mm512_srai_epi32(sum1, 1));
            set = _mm512_add_epi32(set, _mm512_srai_epi32(sum2, 2));
            set = _mm512_add_epi32(set, _mm512_srai_epi32(sum3, 3));
            set = _mm512_add_epi32(set, _mm512_srai_epi32(sum4, 4));
            set = _mm512_add_epi32(set, _mm512_srai_epi32(sum5, 5));
            set = _mm512_add_epi32(set, _mm512_srai_epi32(sum6, 6));
            set = _mm512_sub_epi32(set, _mm512_srai_epi32(sum7, 7));
            start = end;
        }
        const __m512i sum = _mm512_sub_epi32(total, _mm512_slli_epi32(set, 1));
        int32_t *y = acc + row;
        _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), sum));
    }
}
