// Products of tiles: rows by rows, and rows by the tile as it lies.
#include <stagecc/cu_mma.cuh>

#include "tests/kernels/cuda_test.h"

enum { THREADS = 64 }; // two warps, of 16 rows each

// y[32,ROWS] = x[32,D] by the transposed tile, z[32,D] = y by the tile. Of both x and tile, `rows` rows are there.
template <int ROWS, int D>
static __global__ void __launch_bounds__(THREADS)
    multiply(float *y, float *z, const rt_bf16 *x, const rt_bf16 *t, int rows)
{
    __shared__ cu_tile<ROWS, D> tile;
    tile.template load<THREADS>(t, D + 16, 0, rows);
    __syncthreads();
    const int first = (int)threadIdx.x / CU_WARP * CU_MMA_ROWS;
    cu_mma_rows<D> a;
    a.load(x, D + 8, first, rows);
    float dots[ROWS / CU_MMA_COLUMNS][4] = {}, mix[D / CU_MMA_COLUMNS][4] = {};
    a.dot(dots, tile);
    cu_mma_mix<ROWS>(mix, dots, tile);
    for (int i = 0; i < 4; i++) {
        const int row = first + cu_mma_row(i), column = cu_mma_column(i);
        for (int n = 0; n < ROWS / CU_MMA_COLUMNS; n++)
            y[row * ROWS + n * CU_MMA_COLUMNS + column] = dots[n][i];
        for (int n = 0; n < D / CU_MMA_COLUMNS; n++)
            z[row * D + n * CU_MMA_COLUMNS + column] = mix[n][i];
    }
}

template <int ROWS, int D> static void test_tile(int rows)
{
    Tensor<rt_bf16> x(rows * (D + 8)), t(rows * (D + 16)), round(32 * ROWS);
    Tensor<float> y(32 * ROWS), z(32 * D);
    printf("%d rows of %d, %d of them there\n", ROWS, D, rows);
    draw(x);
    draw(t);
    for (size_t i = 0; i < 32; i++)
        for (size_t j = 0; j < ROWS; j++) {
            double sum = 0;
            for (size_t k = 0; k < D && i < (size_t)rows && j < (size_t)rows; k++)
                sum += x.d[i * (D + 8) + k] * t.d[j * (D + 16) + k];
            y.d[i * ROWS + j] = sum;
            round.set((int64_t)(i * ROWS + j), sum);
        }
    for (size_t i = 0; i < 32; i++)
        for (size_t k = 0; k < D; k++)
            for (size_t j = 0; j < ROWS && j < (size_t)rows; j++)
                z.d[i * D + k] += round.d[i * ROWS + j] * t.d[j * (D + 16) + k];
    in_orders("products", {y, z}, [&] {
        CU_LAUNCH((multiply<ROWS, D>), 1, THREADS, NULL, y.f, z.f, x.f, t.f, rows);
    });
    close_to("rows by rows", y, F32);
    close_to("rows by the tile", z, 1e-3); // between them, a sum may round to the other side
}

int main()
{
    test_tile<16, 16>(32);
    test_tile<32, 64>(32);
    test_tile<64, 32>(20);
    test_tile<32, 128>(1);
    return failed;
}
