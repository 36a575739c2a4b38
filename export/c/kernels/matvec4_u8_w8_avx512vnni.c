#include <immintrin.h>
/* vpdpbusd: two tiles by four vectors at a time, so that six loads serve eight instructions. */
static void matvec4_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t stride, size_t rows,
                          size_t columns)
{
    const size_t tile = MODEL_TILE * columns;
    for (size_t row = 0; row < rows; row += 2 * MODEL_TILE) {
        /* Past the last tile it is read again, and what comes of it is left out. */
        const size_t left = (rows - row) / MODEL_TILE;
        const uint8_t *w0 = weight + row / MODEL_TILE * tile;
        const uint8_t *w1 = left > 1 ? w0 + tile : w0;
        __m512i a0 = _mm512_setzero_si512(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        for (size_t column = 0, at = 0; column < columns; column += 4, at += 64) {
            int32_t words[4];
            memcpy(words, x + column, sizeof *words);
            memcpy(words + 1, x + stride + column, sizeof *words);
            memcpy(words + 2, x + 2 * stride + column, sizeof *words);
            memcpy(words + 3, x + 3 * stride + column, sizeof *words);
            const __m512i first = _mm512_loadu_si512(w0 + at), second = _mm512_loadu_si512(w1 + at);
            const __m512i x0 = _mm512_set1_epi32(words[0]);
            a0 = _mm512_dpbusd_epi32(a0, x0, first);
            b0 = _mm512_dpbusd_epi32(b0, x0, second);
            const __m512i x1 = _mm512_set1_epi32(words[1]);
            a1 = _mm512_dpbusd_epi32(a1, x1, first);
            b1 = _mm512_dpbusd_epi32(b1, x1, second);
            const __m512i x2 = _mm512_set1_epi32(words[2]);
            a2 = _mm512_dpbusd_epi32(a2, x2, first);
            b2 = _mm512_dpbusd_epi32(b2, x2, second);
            const __m512i x3 = _mm512_set1_epi32(words[3]);
            a3 = _mm512_dpbusd_epi32(a3, x3, first);
            b3 = _mm512_dpbusd_epi32(b3, x3, second);
        }
        int32_t *y = acc + row;
        _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), a0));
        _mm512_storeu_si512(y + rows, _mm512_add_epi32(_mm512_loadu_si512(y + rows), a1));
        _mm512_storeu_si512(y + 2 * rows, _mm512_add_epi32(_mm512_loadu_si512(y + 2 * rows), a2));
        _mm512_storeu_si512(y + 3 * rows, _mm512_add_epi32(_mm512_loadu_si512(y + 3 * rows), a3));
        if (left > 1) {
            y += MODEL_TILE;
            _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), b0));
            _mm512_storeu_si512(y + rows, _mm512_add_epi32(_mm512_loadu_si512(y + rows), b1));
            _mm512_storeu_si512(y + 2 * rows, _mm512_add_epi32(_mm512_loadu_si512(y + 2 * rows), b2));
            _mm512_storeu_si512(y + 3 * rows, _mm512_add_epi32(_mm512_loadu_si512(y + 3 * rows), b3));
        }
    }
}
