#include <immintrin.h>
/* vpdpbusd twice: x = 256 h + l with bytes h and l. l is unsigned, and times w needs nothing more. So is h where no x is
   negative, as states are behind a ReLU; else the weights are the unsigned operand, w + 128, which -128 times the sum
   of h puts right. x is split once, 1024 entries at a time, and serves all rows, four tiles at a time. */
static void matvec_s16_w8(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    uint8_t low[1024], high[1024];
    const __m512i share = _mm512_set1_epi16(-1), flip = _mm512_set1_epi8(-0x80);
    const size_t tile = MODEL_TILE * columns;
    for (size_t start = 0; start < columns; start += sizeof low) {
        const size_t count = columns - start < sizeof low ? columns - start : sizeof low;
        __m512i total = _mm512_setzero_si512(), any = total;
        for (size_t column = 0; column < count; column += 32) {
            const __mmask32 valid = count - column < 32 ? ((__mmask32)1 << (count - column)) - 1 : ~(__mmask32)0;
            const __m512i entries = _mm512_maskz_loadu_epi16(valid, x + start + column);
            const __m512i h = _mm512_srai_epi16(entries, 8);
            _mm256_storeu_si256((__m256i *)(low + column), _mm512_cvtepi16_epi8(entries));
            _mm256_storeu_si256((__m256i *)(high + column), _mm512_cvtepi16_epi8(h));
            any = _mm512_or_si512(any, entries);
            total = _mm512_dpwssd_epi32(total, h, share);
        }
        const int negative = _mm512_movepi16_mask(any) != 0;
        /* -128 times the sum of h, times 256, in every lane; all modulo 2^32. */
        total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0x4e));
        total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0xb1));
        total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0x4e));
        total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0xb1));
        total = negative ? _mm512_slli_epi32(total, 15) : _mm512_setzero_si512();
        for (size_t row = 0; row < rows; row += 4 * MODEL_TILE) {
            /* Past the last tile it is read again, and what comes of it is left out. */
            const size_t left = (rows - row) / MODEL_TILE;
            const uint8_t *w0 = weight + row / MODEL_TILE * tile + start * MODEL_TILE;
            const uint8_t *w1 = left > 1 ? w0 + tile : w0;
            const uint8_t *w2 = left > 2 ? w1 + tile : w1;
            const uint8_t *w3 = left > 3 ? w2 + tile : w2;
            __m512i a0 = total, a1 = total, a2 = total, a3 = total;
            __m512i b0 = _mm512_setzero_si512(), b1 = b0, b2 = b0, b3 = b0;
            for (size_t column = 0, at = 0; column < count; column += 4, at += 64) {
                int32_t low4, high4;
                memcpy(&low4, low + column, sizeof low4);
                memcpy(&high4, high + column, sizeof high4);
                const __m512i l = _mm512_set1_epi32(low4), h = _mm512_set1_epi32(high4);
                const __m512i codes0 = _mm512_loadu_si512(w0 + at), codes1 = _mm512_loadu_si512(w1 + at);
                const __m512i codes2 = _mm512_loadu_si512(w2 + at), codes3 = _mm512_loadu_si512(w3 + at);
                a0 = _mm512_dpbusd_epi32(a0, l, codes0);
                a1 = _mm512_dpbusd_epi32(a1, l, codes1);
                a2 = _mm512_dpbusd_epi32(a2, l, codes2);
                a3 = _mm512_dpbusd_epi32(a3, l, codes3);
                if (negative) {
                    b0 = _mm512_dpbusd_epi32(b0, _mm512_xor_si512(codes0, flip), h);
                    b1 = _mm512_dpbusd_epi32(b1, _mm512_xor_si512(codes1, flip), h);
                    b2 = _mm512_dpbusd_epi32(b2, _mm512_xor_si512(codes2, flip), h);
                    b3 = _mm512_dpbusd_epi32(b3, _mm512_xor_si512(codes3, flip), h);
                } else {
                    b0 = _mm512_dpbusd_epi32(b0, h, codes0);
                    b1 = _mm512_dpbusd_epi32(b1, h, codes1);
                    b2 = _mm512_dpbusd_epi32(b2, h, codes2);
                    b3 = _mm512_dpbusd_epi32(b3, h, codes3);
                }
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
}
