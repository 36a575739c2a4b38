#include <immintrin.h>
/* vpdpbusd twice a field: x = 256 h + l with bytes h (signed) and l (unsigned), and code + 8, which serves as the
   signed operand beside l and as the unsigned one beside h; -8 times the sum of x puts it right. Four tiles at a
   time. */
static void matvec_s16_w4(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const __m512i low = _mm512_set1_epi32(0x06040200), high = _mm512_set1_epi32(0x07050301);
    const __m512i flip = _mm512_set1_epi8(8), field = _mm512_set1_epi8(15);
    /* -8 times the sum of x, in every lane; all modulo 2^32. */
    const __m512i share = _mm512_set1_epi16(-8);
    __m512i total = _mm512_setzero_si512();
    for (size_t column = 0; column < columns; column += 32) {
        const __mmask32 valid = columns - column < 32 ? ((__mmask32)1 << (columns - column)) - 1 : ~(__mmask32)0;
        total = _mm512_dpwssd_epi32(total, _mm512_maskz_loadu_epi16(valid, x + column), share);
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
        __m512i a0 = total, a1 = total, a2 = total, a3 = total;
        __m512i b0 = _mm512_setzero_si512(), b1 = b0, b2 = b0, b3 = b0;
        for (size_t column = 0, at = 0; column < columns; column += 8, at += 64) {
            int64_t word0, word1;
            memcpy(&word0, x + column, sizeof word0);
            memcpy(&word1, x + column + 4, sizeof word1);
            const __m512i x0 = _mm512_set1_epi64(word0);
            const __m512i l0 = _mm512_shuffle_epi8(x0, low), h0 = _mm512_shuffle_epi8(x0, high);
            const __m512i x1 = _mm512_set1_epi64(word1);
            const __m512i l1 = _mm512_shuffle_epi8(x1, low), h1 = _mm512_shuffle_epi8(x1, high);
            const __m512i codes0 = _mm512_loadu_si512(w0 + at);
            /* 0x28: (codes ^ flip) & field */
            const __m512i c00 = _mm512_ternarylogic_epi32(codes0, flip, field, 0x28);
            a0 = _mm512_dpbusd_epi32(a0, l0, c00);
            b0 = _mm512_dpbusd_epi32(b0, c00, h0);
            const __m512i c01 = _mm512_ternarylogic_epi32(_mm512_srli_epi16(codes0, 4), flip, field, 0x28);
            a0 = _mm512_dpbusd_epi32(a0, l1, c01);
            b0 = _mm512_dpbusd_epi32(b0, c01, h1);
            const __m512i codes1 = _mm512_loadu_si512(w1 + at);
            const __m512i c10 = _mm512_ternarylogic_epi32(codes1, flip, field, 0x28);
            a1 = _mm512_dpbusd_epi32(a1, l0, c10);
            b1 = _mm512_dpbusd_epi32(b1, c10, h0);
            const __m512i c11 = _mm512_ternarylogic_epi32(_mm512_srli_epi16(codes1, 4), flip, field, 0x28);
            a1 = _mm512_dpbusd_epi32(a1, l1, c11);
            b1 = _mm512_dpbusd_epi32(b1, c11, h1);
            const __m512i codes2 = _mm512_loadu_si512(w2 + at);
            const __m512i c20 = _mm512_ternarylogic_epi32(codes2, flip, field, 0x28);
            a2 = _mm512_dpbusd_epi32(a2, l0, c20);
            b2 = _mm512_dpbusd_epi32(b2, c20, h0);
            const __m512i c21 = _mm512_ternarylogic_epi32(_mm512_srli_epi16(codes2, 4), flip, field, 0x28);
            a2 = _mm512_dpbusd_epi32(a2, l1, c21);
            b2 = _mm512_dpbusd_epi32(b2, c21, h1);
            const __m512i codes3 = _mm512_loadu_si512(w3 + at);
            const __m512i c30 = _mm512_ternarylogic_epi32(codes3, flip, field, 0x28);
            a3 = _mm512_dpbusd_epi32(a3, l0, c30);
            b3 = _mm512_dpbusd_epi32(b3, c30, h0);
            const __m512i c31 = _mm512_ternarylogic_epi32(_mm512_srli_epi16(codes3, 4), flip, field, 0x28);
            a3 = _mm512_dpbusd_epi32(a3, l1, c31);
            b3 = _mm512_dpbusd_epi32(b3, c31, h1);
        }
        int32_t *y = acc + row;
        a0 = _mm512_add_epi32(a0, _mm512_slli_epi32(b0, 8));
        _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), a0));
        if (left > 1) {
            a1 = _mm512_add_epi32(a1, _mm512_slli_epi32(b1, 8));
            _mm512_storeu_si512(y + 16, _mm512_add_epi32(_mm512_loadu_si512(y + 16), a1));
        }
        if (left > 2) {
            a2 = _mm512_add_epi32(a2, _mm512_slli_epi32(b2, 8));
            _mm512_storeu_si512(y + 32, _mm512_add_epi32(_mm512_loadu_si512(y + 32), a2));
        }
        if (left > 3) {
            a3 = _mm512_add_epi32(a3, _mm512_slli_epi32(b3, 8));
            _mm512_storeu_si512(y + 48, _mm512_add_epi32(_mm512_loadu_si512(y + 48), a3));
        }
    }
}
