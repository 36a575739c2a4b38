#include <immintrin.h>
/* vpdpbusd of eight rows: each component of the weights is read once and meets the four parts of x. It only adds, so
   that each part of y has sums of what is added and (less) of what is taken away. */
static void quaternion_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns,
                             size_t part)
{
    const size_t tile = 4 * MODEL_TILE * columns;
    for (size_t row = 0; row < rows; row += 8) {
        const uint8_t *w = weight + row / MODEL_TILE * tile + row % MODEL_TILE * 4;
        __m256i r_more = _mm256_setzero_si256(), i_more = r_more, j_more = r_more, k_more = r_more;
        __m256i r_less = r_more, i_less = r_more, j_less = r_more, k_less = r_more;
        for (size_t column = 0; column < columns; column += 4, w += 256) {
            int32_t words[4];
            memcpy(words, x + column, sizeof *words);
            memcpy(words + 1, x + part + column, sizeof *words);
            memcpy(words + 2, x + 2 * part + column, sizeof *words);
            memcpy(words + 3, x + 3 * part + column, sizeof *words);
            const __m256i xr = _mm256_set1_epi32(words[0]);
            const __m256i xi = _mm256_set1_epi32(words[1]);
            const __m256i xj = _mm256_set1_epi32(words[2]);
            const __m256i xk = _mm256_set1_epi32(words[3]);
            const __m256i r = _mm256_loadu_si256((const __m256i *)w);
            r_more = _mm256_dpbusd_avx_epi32(r_more, xr, r);
            i_more = _mm256_dpbusd_avx_epi32(i_more, xi, r);
            j_more = _mm256_dpbusd_avx_epi32(j_more, xj, r);
            k_more = _mm256_dpbusd_avx_epi32(k_more, xk, r);
            const __m256i i = _mm256_loadu_si256((const __m256i *)(w + 64));
            i_more = _mm256_dpbusd_avx_epi32(i_more, xr, i);
            r_less = _mm256_dpbusd_avx_epi32(r_less, xi, i);
            k_more = _mm256_dpbusd_avx_epi32(k_more, xj, i);
            j_less = _mm256_dpbusd_avx_epi32(j_less, xk, i);
            const __m256i j = _mm256_loadu_si256((const __m256i *)(w + 128));
            j_more = _mm256_dpbusd_avx_epi32(j_more, xr, j);
            k_less = _mm256_dpbusd_avx_epi32(k_less, xi, j);
            r_less = _mm256_dpbusd_avx_epi32(r_less, xj, j);
            i_more = _mm256_dpbusd_avx_epi32(i_more, xk, j);
            const __m256i k = _mm256_loadu_si256((const __m256i *)(w + 192));
            k_more = _mm256_dpbusd_avx_epi32(k_more, xr, k);
            j_more = _mm256_dpbusd_avx_epi32(j_more, xi, k);
            i_less = _mm256_dpbusd_avx_epi32(i_less, xj, k);
            r_less = _mm256_dpbusd_avx_epi32(r_less, xk, k);
        }
        int32_t *y = acc + row;
        _mm256_storeu_si256((__m256i *)y,
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)y), _mm256_sub_epi32(r_more, r_less)));
        _mm256_storeu_si256((__m256i *)(y + rows), _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + rows)),
                                                                    _mm256_sub_epi32(i_more, i_less)));
        _mm256_storeu_si256(
            (__m256i *)(y + 2 * rows),
            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 2 * rows)), _mm256_sub_epi32(j_more, j_less)));
        _mm256_storeu_si256(
            (__m256i *)(y + 3 * rows),
            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 3 * rows)), _mm256_sub_epi32(k_more, k_less)));
    }
}
