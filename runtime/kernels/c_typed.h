// Part of <stagecc/c.h>, which includes it once for each type of elements.
#include <stagecc/c_sums.h>

#include <stagecc/c_loss.h>
#include <stagecc/c_norm_rows.h>
#include <stagecc/c_shape.h>
