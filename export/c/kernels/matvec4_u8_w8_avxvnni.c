#include <immintrin.h>
/* vpdpbusd: one tile by four vectors at a time, so that six loads serve eight instructions. */
static void matvec4_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t stride, size_t rows,
                          size_t columns)
{
    const uint8_t *w = weight;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        __m256i a0 = _mm256_setzero_si256(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        for (size_t column = 0; column < columns; column += 4, w += 64) {
            int32_t words[4];
            memcpy(words, x + column, sizeof *words);
            memcpy(words + 1, x + stride + column, sizeof *words);
            memcpy(words + 2, x + 2 * stride + column, sizeof *words);
            memcpy(words + 3, x + 3 * stride + column, sizeof *words);
            const __m256i first = _mm256_loadu_si256((const __m256i *)w),
                          second = _mm256_loadu_si256((const __m256i *)(w + 32));
            const __m256i x0 = _mm256_set1_epi32(words[0]);
            a0 = _mm256_dpbusd_avx_epi32(a0, x0, first);
            b0 = _mm256_dpbusd_avx_epi32(b0, x0, second);
            const __m256i x1 = _mm256_set1_epi32(words[1]);
            a1 = _mm256_dpbusd_avx_epi32(a1, x1, first);
            b1 = _mm256_dpbusd_avx_epi32(b1, x1, second);
            const __m256i x2 = _mm256_set1_epi32(words[2]);
            a2 = _mm256_dpbusd_avx_epi32(a2, x2, first);
            b2 = _mm256_dpbusd_avx_epi32(b2, x2, second);
            const __m256i x3 = _mm256_set1_epi32(words[3]);
            a3 = _mm256_dpbusd_avx_epi32(a3, x3, first);
            b3 = _mm256_dpbusd_avx_epi32(b3, x3, second);
        }
        int32_t *y = acc + row;
        _mm256_storeu_si256((__m256i *)y, _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)y), a0));
        _mm256_storeu_si256((__m256i *)(y + 8), _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 8)), b0));
        _mm256_storeu_si256((__m256i *)(y + rows),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + rows)), a1));
        _mm256_storeu_si256((__m256i *)(y + rows + 8),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + rows + 8)), b1));
        _mm256_storeu_si256((__m256i *)(y + 2 * rows),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 2 * rows)), a2));
        _mm256_storeu_si256((__m256i *)(y + 2 * rows + 8),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 2 * rows + 8)), b2));
        _mm256_storeu_si256((__m256i *)(y + 3 * rows),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 3 * rows)), a3));
        _mm256_storeu_si256((__m256i *)(y + 3 * rows + 8),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 3 * rows + 8)), b3));
    }
}
