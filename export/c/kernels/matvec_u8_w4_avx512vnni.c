#include <immintrin.h>
/* vpdpbusd of codes that stay where they are in their byte: the low four bits as code + 8, which -8 times the sum of
   their x puts right; the high four bits as 16 times the code. Four tiles at a time. */
static void matvec_u8_w4(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const __m512i flip = _mm512_set1_epi8(0x08), low = _mm512_set1_epi8(0x0f), high = _mm512_set1_epi8(-0x10);
    /* -8 times the sum of x at the low fields, in every lane. */
    const __m512i share = _mm512_set1_epi64(0xf8f8f8f8);
    __m512i total = _mm512_setzero_si512();
    for (size_t column = 0; column < columns; column += 64) {
        const __mmask64 valid = columns - column < 64 ? ((__mmask64)1 << (columns - column)) - 1 : ~(__mmask64)0;
        total = _mm512_dpbusd_epi32(total, _mm512_maskz_loadu_epi8(valid, x + column), share);
    }
    total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0x4e));
    total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0xb1));
    total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0x4e));
    total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0xb1));
    const size_t tile = MODEL_TILE * columns / 2;
    for (size_t row = 0; row < rows; row += 4 * MODEL_TILE) {
        /* Past the last tile it is read again, and what comes of it is left out. */
        const size_t left = (rows - row) / MODEL_TILE;
        const uint8_t *w0 = weight + row / MODEL_TILE * tile;
        const uint8_t *w1 = left > 1 ? w0 + tile : w0;
        const uint8_t *w2 = left > 2 ? w1 + tile : w1;
        const uint8_t *w3 = left > 3 ? w2 + tile : w2;
        __m512i sum0 = total;
        __m512i sum1 = total;
        __m512i sum2 = total;
        __m512i sum3 = total;
        for (size_t start = 0, at = 0; start < columns;) {
            /* So many columns that 16 times their sum stays within 32 bits. */
            const size_t end = columns - start < 32768 ? columns : start + 32768;
            __m512i a0 = _mm512_setzero_si512(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
            for (size_t column = start; column < end; column += 8, at += 64) {
                int32_t word0, word1;
                memcpy(&word0, x + column, sizeof word0);
                memcpy(&word1, x + column + 4, sizeof word1);
                const __m512i x0 = _mm512_set1_epi32(word0), x1 = _mm512_set1_epi32(word1);
                const __m512i codes0 = _mm512_loadu_si512(w0 + at);
                /* 0x28: (codes ^ flip) & low */
                a0 = _mm512_dpbusd_epi32(a0, x0, _mm512_ternarylogic_epi32(codes0, flip, low, 0x28));
                b0 = _mm512_dpbusd_epi32(b0, x1, _mm512_and_si512(codes0, high));
                const __m512i codes1 = _mm512_loadu_si512(w1 + at);
                a1 = _mm512_dpbusd_epi32(a1, x0, _mm512_ternarylogic_epi32(codes1, flip, low, 0x28));
                b1 = _mm512_dpbusd_epi32(b1, x1, _mm512_and_si512(codes1, high));
                const __m512i codes2 = _mm512_loadu_si512(w2 + at);
                a2 = _mm512_dpbusd_epi32(a2, x0, _mm512_ternarylogic_epi32(codes2, flip, low, 0x28));
                b2 = _mm512_dpbusd_epi32(b2, x1, _mm512_and_si512(codes2, high));
                const __m512i codes3 = _mm512_loadu_si512(w3 + at);
                a3 = _mm512_dpbusd_epi32(a3, x0, _mm512_ternarylogic_epi32(codes3, flip, low, 0x28));
                b3 = _mm512_dpbusd_epi32(b3, x1, _mm512_and_si512(codes3, high));
            }
            sum0 = _mm512_add_epi32(sum0, _mm512_add_epi32(a0, _mm512_srai_epi32(b0, 4)));
            sum1 = _mm512_add_epi32(sum1, _mm512_add_epi32(a1, _mm512_srai_epi32(b1, 4)));
            sum2 = _mm512_add_epi32(sum2, _mm512_add_epi32(a2, _mm512_srai_epi32(b2, 4)));
            sum3 = _mm512_add_epi32(sum3, _mm512_add_epi32(a3, _mm512_srai_epi32(b3, 4)));
            start = end;
        }
        int32_t *y = acc + row;
        _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), sum0));
        if (left > 1) {
            _mm512_storeu_si512(y + 16, _mm512_add_epi32(_mm512_loadu_si512(y + 16), sum1));
        }
        if (left > 2) {
            _mm512_storeu_si512(y + 32, _mm512_add_epi32(_mm512_loadu_si512(y + 32), sum2));
        }
        if (left > 3) {
            _mm512_storeu_si512(y + 48, _mm512_add_epi32(_mm512_loadu_si512(y + 48), sum3));
        }
    }
}
