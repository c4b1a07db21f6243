// A row in the registers of a team, for ops that look at a row more than once.
#ifndef STAGECC_CU_ROW_H
#define STAGECC_CU_ROW_H

#include <stagecc/cu.h>

// The team that takes a row of c elements: a warp up to 1024 elements, from there on a block in which every
// thread holds up to 16, as far as blocks go.
CU_BOTH int cu_row_lanes(int64_t c)
{
    int lanes = CU_WARP;
    while (c > 1024 && lanes < 1024 && c > 16 * (int64_t)lanes)
        lanes *= 2;
    return lanes;
}

// C elements of type T, in packs that the team's threads take in turn.
template <typename T, int C, int LANES = cu_row_lanes(C)> struct cu_row {
    static constexpr int N = cu_width<T>(C), PACKS = C / N, MINE = (int)cu_ceil(PACKS, LANES);
    float item[MINE][N] = {};

    // f(k, at) for every pack of the thread: item[k], whose first element is the row's at-th.
    template <typename F> CU_MEMBER void each(F f) const
    {
        CU_UNROLL
        for (int k = 0; k < MINE; k++) {
            const int pack = k * LANES + cu_lane<LANES>();
            if (pack < PACKS)
                f(k, pack * N);
        }
    }

    CU_MEMBER void load(const T *row)
    {
        each([&](int k, int at) { cu_load<N>(item[k], row + at); });
    }

    CU_MEMBER void store(T *row) const
    {
        each([&](int k, int at) { cu_store<N>(row + at, item[k]); });
    }

    // Every element becomes value(element, its index).
    template <typename F> CU_MEMBER void map(F value)
    {
        each([&](int k, int at) {
            CU_UNROLL
            for (int i = 0; i < N; i++)
                item[k][i] = value(item[k][i], at + i);
        });
    }

    // value(element, that of another row).
    template <typename F> CU_MEMBER void map(const cu_row &other, F value)
    {
        each([&](int k, int) {
            CU_UNROLL
            for (int i = 0; i < N; i++)
                item[k][i] = value(item[k][i], other.item[k][i]);
        });
    }

    // value(element, its parameter), of which there is one a column.
    template <typename F> CU_MEMBER void map(const float *param, F value)
    {
        each([&](int k, int at) {
            float p[N];
            cu_load<N>(p, param + at);
            CU_UNROLL
            for (int i = 0; i < N; i++)
                item[k][i] = value(item[k][i], p[i]);
        });
    }

    // The largest element; all threads of the team have to call it.
    CU_MEMBER float largest() const
    {
        float largest = -__builtin_inff();
        each([&](int k, int) {
            CU_UNROLL
            for (int i = 0; i < N; i++)
                largest = cu_larger()(largest, item[k][i]);
        });
        return cu_team_max<LANES>(largest);
    }

    // Sums over the row, of its elements and of their products with those of another: within a pack in float, then
    // in double. All threads of the team have to call them.
    CU_MEMBER double sum() const
    {
        double sum = 0;
        each([&](int k, int) {
            float part = 0;
            CU_UNROLL
            for (int i = 0; i < N; i++)
                part += item[k][i];
            sum += (double)part;
        });
        return cu_team_sum<LANES>(sum);
    }

    CU_MEMBER double product(const cu_row &other) const
    {
        double sum = 0;
        each([&](int k, int) {
            float part = 0;
            CU_UNROLL
            for (int i = 0; i < N; i++)
                part += item[k][i] * other.item[k][i];
            sum += (double)part;
        });
        return cu_team_sum<LANES>(sum);
    }
};

#endif
