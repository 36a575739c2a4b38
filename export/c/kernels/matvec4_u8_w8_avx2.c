#include <immintrin.h>
/* vpmaddwd of bytes widened to 16 bits in their places: even columns and odd ones; eight rows by four vectors at a
   time. */
static void matvec4_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t stride, size_t rows,
                          size_t columns)
{
    const __m256i byte = _mm256_set1_epi16(0xff);
    const size_t tile = MODEL_TILE * columns;
    for (size_t row = 0; row < rows; row += 8) {
        const uint8_t *w = weight + row / MODEL_TILE * tile + row % MODEL_TILE * 4;
        __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
        for (size_t column = 0; column < columns; column += 4, w += 64) {
            int32_t words[4];
            memcpy(words, x + column, sizeof *words);
            memcpy(words + 1, x + stride + column, sizeof *words);
            memcpy(words + 2, x + 2 * stride + column, sizeof *words);
            memcpy(words + 3, x + 3 * stride + column, sizeof *words);
            const __m256i codes = _mm256_loadu_si256((const __m256i *)w);
            const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 8), odd = _mm256_srai_epi16(codes, 8);
            const __m256i x0 = _mm256_set1_epi32(words[0]);
            sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(even, _mm256_and_si256(x0, byte)));
            sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(odd, _mm256_srli_epi16(x0, 8)));
            const __m256i x1 = _mm256_set1_epi32(words[1]);
            sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(even, _mm256_and_si256(x1, byte)));
            sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(odd, _mm256_srli_epi16(x1, 8)));
            const __m256i x2 = _mm256_set1_epi32(words[2]);
            sum2 = _mm256_add_epi32(sum2, _mm256_madd_epi16(even, _mm256_and_si256(x2, byte)));
            sum2 = _mm256_add_epi32(sum2, _mm256_madd_epi16(odd, _mm256_srli_epi16(x2, 8)));
            const __m256i x3 = _mm256_set1_epi32(words[3]);
            sum3 = _mm256_add_epi32(sum3, _mm256_madd_epi16(even, _mm256_and_si256(x3, byte)));
            sum3 = _mm256_add_epi32(sum3, _mm256_madd_epi16(odd, _mm256_srli_epi16(x3, 8)));
        }
        int32_t *y = acc + row;
        _mm256_storeu_si256((__m256i *)y, _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)y), sum0));
        _mm256_storeu_si256((__m256i *)(y + rows),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + rows)), sum1));
        _mm256_storeu_si256((__m256i *)(y + 2 * rows),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 2 * rows)), sum2));
        _mm256_storeu_si256((__m256i *)(y + 3 * rows),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 3 * rows)), sum3));
    }
}
