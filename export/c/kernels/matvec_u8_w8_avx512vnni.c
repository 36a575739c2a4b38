#include <immintrin.h>
/* vpdpbusd: the four products of each of 16 rows, added to their sums without saturation. Four tiles at a time: one
   broadcast of x serves four loads of weights, and four chains of sums hide the instruction's latency. */
static void matvec_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const size_t tile = MODEL_TILE * columns;
    for (size_t row = 0; row < rows; row += 4 * MODEL_TILE) {
        /* Past the last tile it is read again, and what comes of it is left out. */
        const size_t left = (rows - row) / MODEL_TILE;
        const uint8_t *w0 = weight + row / MODEL_TILE * tile;
        const uint8_t *w1 = left > 1 ? w0 + tile : w0;
        const uint8_t *w2 = left > 2 ? w1 + tile : w1;
        const uint8_t *w3 = left > 3 ? w2 + tile : w2;
        __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
        for (size_t column = 0, at = 0; column < columns; column += 4, at += 64) {
            int32_t word;
            memcpy(&word, x + column, sizeof word);
            const __m512i entries = _mm512_set1_epi32(word);
            sum0 = _mm512_dpbusd_epi32(sum0, entries, _mm512_loadu_si512(w0 + at));
            sum1 = _mm512_dpbusd_epi32(sum1, entries, _mm512_loadu_si512(w1 + at));
            sum2 = _mm512_dpbusd_epi32(sum2, entries, _mm512_loadu_si512(w2 + at));
            sum3 = _mm512_dpbusd_epi32(sum3, entries, _mm512_loadu_si512(w3 + at));
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
