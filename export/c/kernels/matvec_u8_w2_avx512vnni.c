#include <immintrin.h>
/* vpdpbusd of codes that stay where they are in their byte: fields 0 to 2 as code + 2 times 1, 4 and 16, which -2
   times the sum of their x puts right; field 3 as 64 times the code. Two tiles at a time. */
static void matvec_u8_w2(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const __m512i flip0 = _mm512_set1_epi8(0x02), flip1 = _mm512_set1_epi8(0x08), flip2 = _mm512_set1_epi8(0x20);
    const __m512i field0 = _mm512_set1_epi8(0x03), field1 = _mm512_set1_epi8(0x0c), field2 = _mm512_set1_epi8(0x30);
    const __m512i field3 = _mm512_set1_epi8(-0x40);
    /* -2 times the sum of x at fields 0 to 2, in every lane. */
    const __m512i share = _mm512_set4_epi32(0, -0x01010102, -0x01010102, -0x01010102);
    __m512i total = _mm512_setzero_si512();
    for (size_t column = 0; column < columns; column += 64) {
        const __mmask64 valid = columns - column < 64 ? ((__mmask64)1 << (columns - column)) - 1 : ~(__mmask64)0;
        total = _mm512_dpbusd_epi32(total, _mm512_maskz_loadu_epi8(valid, x + column), share);
    }
    total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0x4e));
    total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0xb1));
    total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0x4e));
    total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0xb1));
    const size_t tile = MODEL_TILE * columns / 4;
    for (size_t row = 0; row < rows; row += 2 * MODEL_TILE) {
        /* Past the last tile it is read again, and what comes of it is left out. */
        const size_t left = (rows - row) / MODEL_TILE;
        const uint8_t *w0 = weight + row / MODEL_TILE * tile;
        const uint8_t *w1 = left > 1 ? w0 + tile : w0;
        __m512i sum0 = total;
        __m512i sum1 = total;
        for (size_t start = 0, at = 0; start < columns;) {
            /* So many columns that 64 times their sum stays within 32 bits. */
            const size_t end = columns - start < 32768 ? columns : start + 32768;
            __m512i a0 = _mm512_setzero_si512(), b0 = a0, c0 = a0, d0 = a0, a1 = a0, b1 = a0, c1 = a0, d1 = a0;
            for (size_t column = start; column < end; column += 16, at += 64) {
                int32_t word0, word1, word2, word3;
                memcpy(&word0, x + column, sizeof word0);
                memcpy(&word1, x + column + 4, sizeof word1);
                memcpy(&word2, x + column + 8, sizeof word2);
                memcpy(&word3, x + column + 12, sizeof word3);
                const __m512i x0 = _mm512_set1_epi32(word0), x1 = _mm512_set1_epi32(word1);
                const __m512i x2 = _mm512_set1_epi32(word2), x3 = _mm512_set1_epi32(word3);
                const __m512i codes0 = _mm512_loadu_si512(w0 + at);
                /* 0x28: (codes ^ flip) & field */
                a0 = _mm512_dpbusd_epi32(a0, x0, _mm512_ternarylogic_epi32(codes0, flip0, field0, 0x28));
                b0 = _mm512_dpbusd_epi32(b0, x1, _mm512_ternarylogic_epi32(codes0, flip1, field1, 0x28));
                c0 = _mm512_dpbusd_epi32(c0, x2, _mm512_ternarylogic_epi32(codes0, flip2, field2, 0x28));
                d0 = _mm512_dpbusd_epi32(d0, x3, _mm512_and_si512(codes0, field3));
                const __m512i codes1 = _mm512_loadu_si512(w1 + at);
                a1 = _mm512_dpbusd_epi32(a1, x0, _mm512_ternarylogic_epi32(codes1, flip0, field0, 0x28));
                b1 = _mm512_dpbusd_epi32(b1, x1, _mm512_ternarylogic_epi32(codes1, flip1, field1, 0x28));
                c1 = _mm512_dpbusd_epi32(c1, x2, _mm512_ternarylogic_epi32(codes1, flip2, field2, 0x28));
                d1 = _mm512_dpbusd_epi32(d1, x3, _mm512_and_si512(codes1, field3));
            }
            sum0 = _mm512_add_epi32(sum0, _mm512_add_epi32(a0, _mm512_srai_epi32(b0, 2)));
            sum0 = _mm512_add_epi32(sum0, _mm512_add_epi32(_mm512_srai_epi32(c0, 4), _mm512_srai_epi32(d0, 6)));
            sum1 = _mm512_add_epi32(sum1, _mm512_add_epi32(a1, _mm512_srai_epi32(b1, 2)));
            sum1 = _mm512_add_epi32(sum1, _mm512_add_epi32(_mm512_srai_epi32(c1, 4), _mm512_srai_epi32(d1, 6)));
            start = end;
        }
        int32_t *y = acc + row;
        _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), sum0));
        if (left > 1) {
            _mm512_storeu_si512(y + 16, _mm512_add_epi32(_mm512_loadu_si512(y + 16), sum1));
        }
    }
}
