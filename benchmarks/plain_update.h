// The paper's update as the plainest loop over two arrays, which a compiler vectorises: nothing is
// kept but factors, and its bits are whatever comes out. What the model's own update is held
// against.
#pragma once

#include <cstddef>

namespace factord {

// NN-PA-I, approximate: both rows of `stride` floats move by min(C, loss / |partner|^2), and stay
// at 0 or above. Returns the prediction before.
float PlainUpdate(float rating, float c, size_t stride, float* p, float* q);

}  // namespace factord
