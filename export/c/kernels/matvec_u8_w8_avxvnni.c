#include <immintrin.h>
/* vpdpbusd of eight rows: the four products of each are added to their sums without saturation. Two tiles at a time:
   four chains of sums hide the instruction's latency. */
static void matvec_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const size_t tile = MODEL_TILE * columns;
    for (size_t row = 0; row < rows; row += 2 * MODEL_TILE) {
        /* Past the last tile it is read again, and what comes of it is left out. */
        const size_t left = (rows - row) / MODEL_TILE;
        const uint8_t *w0 = weight + row / MODEL_TILE * tile;
        const uint8_t *w1 = left > 1 ? w0 + tile : w0;
        __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
        for (size_t column = 0, at = 0; column < columns; column += 4, at += 64) {
            int32_t word;
            memcpy(&word, x + column, sizeof word);
            const __m256i entries = _mm256_set1_epi32(word);
            sum0 = _mm256_dpbusd_avx_epi32(sum0, entries, _mm256_loadu_si256((const __m256i *)(w0 + at)));
            sum1 = _mm256_dpbusd_avx_epi32(sum1, entries, _mm256_loadu_si256((const __m256i *)(w0 + at + 32)));
            sum2 = _mm256_dpbusd_avx_epi32(sum2, entries, _mm256_loadu_si256((const __m256i *)(w1 + at)));
            sum3 = _mm256_dpbusd_avx_epi32(sum3, entries, _mm256_loadu_si256((const __m256i *)(w1 + at + 32)));
        }
        int32_t *y = acc + row;
        _mm256_storeu_si256((__m256i *)y, _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)y), sum0));
        _mm256_storeu_si256((__m256i *)(y + 8), _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 8)), sum1));
        if (left > 1) {
            _mm256_storeu_si256((__m256i *)(y + 16),
                                _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 16)), sum2));
            _mm256_storeu_si256((__m256i *)(y + 24),
                                _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 24)), sum3));
        }
    }
}
