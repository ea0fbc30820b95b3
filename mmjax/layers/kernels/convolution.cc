// Direct convolution in float32, and the gradient of its kernel, as XLA calls them on CPU.
//
// Arrays are row-major: x [batch, height, width, channels], kernel [kernel_height, kernel_width,
// channels, features], y [batch, out_height, out_width, features]. Both passes hold a tile of
// results in registers, at most kTile scalars of one operand times two vectors of the other, while
// they walk through everything that is summed. Every result is summed in an order that follows from
// the shapes alone, so that it does not depend on the number of threads.
//
// The maximum over windows of y can be taken at once. What leaves and what comes back is then the
// maximum and which entry of its window it was: y, and its gradient, which is zero nearly
// everywhere, are never in memory but for the one image that a thread is at.

#include "common.h"

namespace {

using namespace mmjax;
using Array = ffi::Buffer<ffi::F32, 4>;
using Choices = ffi::Buffer<ffi::U8, 4>;
using Sizes = ffi::Span<const Index>;

typedef uint8_t Bytes __attribute__((vector_size(kLanes)));

// ---- Shapes ----

struct Shape {
  Index batch, height, width, channels, features;
  Index kernel_height, kernel_width, out_height, out_width;
  Index stride_h, stride_w, low_h, low_w, dilation_h, dilation_w;

  Index rows() const { return kernel_height * kernel_width * channels; }  // of the kernel
  Index positions() const { return out_height * out_width; }
  Index padded_height() const { return (out_height - 1) * stride_h + kernel_height; }
  Index padded_width() const { return (out_width - 1) * stride_w + kernel_width; }
  Index image_row() const { return padded_width() * channels; }  // of a padded image
  Index image_size() const { return padded_height() * image_row(); }
  Index run() const { return kernel_width * channels; }  // rows of the kernel side by side in it
  Index padded_features() const { return RoundUp(features); }
  // Whether an image is as it should be, without margins or gaps.
  bool is_padded() const {
    return padded_height() == height && padded_width() == width && low_h == 0 && low_w == 0 &&
           dilation_h == 1 && dilation_w == 1;
  }
};

// Images as they are, or as the gradient of pooling: zeros but for one entry of each window.
struct Images {
  const float* values;    // [batch, height, width, channels], or [batch, one for each window]
  const uint8_t* chosen;  // which entry of its window each value is; null for images as they are
  Index batch, height, width, channels, window_h, window_w;

  Index size() const { return height * width * channels; }

  // Image b [height, width, channels], where it is or made in the buffer, which begins as zeros.
  const float* Get(Index b, float* buffer) const {
    if (chosen == nullptr) return values + b * size();
    CopyChannels(b, 0, channels, buffer, channels);
    return buffer;
  }

  // Copies some channels of image b, to pixels that lie so many floats apart in a buffer of zeros.
  void CopyChannels(Index b, Index first, Index count, float* to, Index step) const {
    if (chosen == nullptr) {
      CopyRows(values + b * size() + first, channels, to, step, height * width, count);
      return;
    }
    const Index rows = height / window_h, columns = width / window_w;
    for (Index r = 0; r < rows; ++r)
      for (Index c = 0; c < columns; ++c) {
        const Index from = ((b * rows + r) * columns + c) * channels + first;
        for (Index entry = 0; entry < window_h * window_w; ++entry) {
          const Index h = r * window_h + entry / window_w, w = c * window_w + entry % window_w;
          CopyChosen(values + from, chosen + from, static_cast<uint8_t>(entry), count,
                     to + (h * width + w) * step);
        }
      }
  }

  // Copies values where they are this entry of their window, and zeros elsewhere.
  static void CopyChosen(const float* __restrict value, const uint8_t* __restrict which,
                         uint8_t entry, Index count, float* __restrict to) {
    Index k = 0;
    for (; k + kLanes <= count; k += kLanes) {
      Bytes bytes;
      std::memcpy(&bytes, which + k, sizeof bytes);
      const Integers entries = __builtin_convertvector(bytes, Integers);
      Store(entries == int32_t{entry} ? Load(value + k) : Vector{}, to + k);
    }
    for (; k < count; ++k) to[k] = which[k] == entry ? value[k] : 0.0f;
  }
};

ffi::Error MakeImages(const Array& values, const Choices& chosen, Sizes size, Sizes window,
                      Images& images) {
  if (size.size() != 2 || window.size() != 2 || std::min(window[0], window[1]) < 1)
    return ffi::Error::InvalidArgument("expected two sizes and a window of at least 1 x 1");
  auto in = values.dimensions();
  const bool pooled = chosen.element_count() > 0;
  if (in[1] != size[0] / window[0] || in[2] != size[1] / window[1] ||
      (pooled && chosen.element_count() != values.element_count()))
    return ffi::Error::InvalidArgument("values, choices and windows do not match");
  images = {values.typed_data(), pooled ? chosen.typed_data() : nullptr, in[0], size[0], size[1],
            in[3], window[0], window[1]};
  return ffi::Error::Success();
}

// The shape of a convolution that makes images y of images x.
ffi::Error MakeShape(const Images& x, ffi::Span<const Index> kernel, const Images& y, Sizes strides,
                     Sizes padding, Sizes dilation, Shape& shape) {
  if (strides.size() != 2 || padding.size() != 4 || dilation.size() != 2)
    return ffi::Error::InvalidArgument("expected two strides, four paddings and two dilations");
  if (std::min({strides[0], strides[1], dilation[0], dilation[1]}) < 1)
    return ffi::Error::InvalidArgument("expected strides and dilations of at least 1");
  if (x.batch != y.batch || x.channels != kernel[2] || y.channels != kernel[3])
    return ffi::Error::InvalidArgument("batch, channels or features of the arrays differ");
  const Index in[] = {x.height, x.width}, out[] = {y.height, y.width};
  for (size_t i = 0; i < 2; ++i) {
    Index room = (in[i] - 1) * dilation[i] + 1 + padding[2 * i] + padding[2 * i + 1];
    if (room < kernel[i] || out[i] != (room - kernel[i]) / strides[i] + 1)
      return ffi::Error::InvalidArgument("the output's size does not follow from the input's");
  }
  shape = {x.batch,    x.height,   x.width,    x.channels,  y.channels,
           kernel[0],  kernel[1],  y.height,   y.width,     strides[0],
           strides[1], padding[0], padding[2], dilation[0], dilation[1]};
  return ffi::Error::Success();
}

// Whether there is nothing to sum, or nowhere to put it: then the result is zero throughout.
bool IsEmpty(const Array& a, const Array& b, Array& result) {
  if (a.element_count() > 0 && b.element_count() > 0 && result.element_count() > 0) return false;
  std::fill_n(result.typed_data(), result.element_count(), 0.0f);
  return true;
}

// Calls visit(first feature, number of vectors) for every block.
template <typename Visit>
void ForBlocks(const Shape& shape, Visit visit) {
  for (Index first = 0; first < shape.features; first += kBlock)
    visit(first, shape.features - first > kLanes ? 2 : 1);
}

// Copies an image into one with margins and, between neighbours, the gaps of dilation:
// [padded_height, padded_width, channels]. Those are zero from the start and never written.
const float* PadImage(const Shape& s, const float* x, float* to) {
  const Index pixels = s.dilation_w == 1 ? s.width : 1;  // that stay side by side
  for (Index h = 0; h < s.height; ++h) {
    const Index row = s.low_h + h * s.dilation_h;
    if (row < 0 || row >= s.padded_height()) continue;
    for (Index w = 0; w < s.width; w += pixels) {
      const Index column = s.low_w + w * s.dilation_w;
      const Index start = std::max<Index>(column, 0);
      const Index stop = std::min(column + pixels, s.padded_width());
      if (start < stop)
        std::memcpy(to + (row * s.padded_width() + start) * s.channels,
                    x + (h * s.width + w + start - column) * s.channels,
                    (stop - start) * s.channels * sizeof(float));
    }
  }
  return to;
}

// ---- Forward ----

// [rows, features] to one matrix [rows, vectors * kLanes] per block, filled up with zeros.
void PackKernel(const Shape& s, const float* from, float* to) {
  ForBlocks(s, [&](Index first, Index vectors) {
    const Index size = std::min(vectors * kLanes, s.features - first);
    for (Index row = 0; row < s.rows(); ++row)
      std::memcpy(to + first * s.rows() + row * vectors * kLanes, from + row * s.features + first,
                  size * sizeof(float));
  });
}

// Some features of y [positions, s.features] at positions that see the image from their offsets on.
template <int positions, int vectors>
void ForwardTile(const Shape& s, const Index* offsets, const float* __restrict image,
                 const float* __restrict kernel, float* __restrict y, Index features) {
  Vector sum[positions][vectors] = {};
  for (Index i = 0; i < s.kernel_height; ++i) {
    const float* from[positions];
    for (int p = 0; p < positions; ++p) from[p] = image + offsets[p] + i * s.image_row();
    for (Index k = 0; k < s.run(); ++k) {
      Vector weight[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) weight[v] = Load(kernel + v * kLanes);
#pragma GCC unroll 16
      for (int p = 0; p < positions; ++p)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sum[p][v] += from[p][k] * weight[v];
      kernel += vectors * kLanes;
    }
  }
  float last[positions][vectors * kLanes];  // where a vector would reach beyond the last feature
  const bool whole = features == vectors * kLanes;
#pragma GCC unroll 16
  for (int p = 0; p < positions; ++p)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v)
      Store(sum[p][v], (whole ? y + p * s.features : last[p]) + v * kLanes);
  for (int p = 0; !whole && p < positions; ++p)
    std::memcpy(y + p * s.features, last[p], features * sizeof(float));
}

template <int positions>
struct ForwardTiles {
  static void Run(const Shape& s, const Index* offsets, const float* image, const float* kernel,
                  float* y, Index vectors, Index features) {
    auto tile = vectors == 2 ? ForwardTile<positions, 2> : ForwardTile<positions, 1>;
    tile(s, offsets, image, kernel, y, features);
  }
};

void ForwardImage(const Shape& s, const std::vector<Index>& offsets, const float* image,
                  const float* kernel, float* y) {
  ForBlocks(s, [&](Index first, Index vectors) {
    const Index features = std::min(vectors * kLanes, s.features - first);
    ForTiles(s.positions(), [&](Index position, Index size) {
      kTable<ForwardTiles>[size - 1](s, offsets.data() + position, image,
                                     kernel + first * s.rows(), y + position * s.features + first,
                                     vectors, features);
    });
  });
}

// The first of the largest entries of each window of an image, and which it is. The image is
// followed by as many floats as a vector has, because its last pixel may have fewer channels.
void PoolImage(const Images& y, const float* image, float* values, uint8_t* chosen) {
  for (Index r = 0; r < y.height / y.window_h; ++r)
    for (Index c = 0; c < y.width / y.window_w; ++c) {
      const float* window = image + (r * y.window_h * y.width + c * y.window_w) * y.channels;
      for (Index k = 0; k < y.channels; k += kLanes) {
        Vector largest = Load(window + k);
        Integers which = {};
        for (int32_t entry = 1; entry < y.window_h * y.window_w; ++entry) {
          const Index pixel = entry / y.window_w * y.width + entry % y.window_w;
          const Vector next = Load(window + pixel * y.channels + k);
          const Integers keep = largest >= next;
          largest = keep ? largest : next;
          which = keep ? which : Integers{} + entry;
        }
        const Bytes bytes = __builtin_convertvector(which, Bytes);
        const Index count = std::min<Index>(kLanes, y.channels - k);
        std::memcpy(values + k, &largest, count * sizeof(float));
        std::memcpy(chosen + k, &bytes, count);
      }
      values += y.channels;
      chosen += y.channels;
    }
}

// y is made of x by x * kernel, and if it is pooled also which entry of its window each value was.
ffi::Error Forward(ffi::ThreadPool pool, Array x_values, Choices x_chosen, Array kernel,
                   ffi::Result<Array> y_values, ffi::Result<Choices> y_chosen, Sizes x_size,
                   Sizes x_window, Sizes y_size, Sizes y_window, Sizes strides, Sizes padding,
                   Sizes dilation) try {
  std::fill_n(y_chosen->typed_data(), y_chosen->element_count(), uint8_t{0});
  if (IsEmpty(x_values, kernel, *y_values)) return ffi::Error::Success();
  Images x, y;
  Shape s;
  ffi::Error error = MakeImages(x_values, x_chosen, x_size, x_window, x);
  if (error.success()) error = MakeImages(*y_values, *y_chosen, y_size, y_window, y);
  if (error.success())
    error = MakeShape(x, kernel.dimensions(), y, strides, padding, dilation, s);
  if (error.failure()) return error;
  std::vector<Index> offsets;
  for (Index h = 0; h < s.out_height; ++h)
    for (Index w = 0; w < s.out_width; ++w)
      offsets.push_back(h * s.stride_h * s.image_row() + w * s.stride_w * s.channels);
  Floats packed(s.rows() * s.padded_features());
  PackKernel(s, kernel.typed_data(), packed.data());
  const Index workers = NumWorkers(pool, s.batch);
  std::vector<Floats> spread(workers, Floats(x.chosen ? x.size() : 0));  // one for each worker
  std::vector<Floats> padded(workers, Floats(s.is_padded() ? 0 : s.image_size()));
  std::vector<Floats> whole(workers, Floats(y.chosen ? y.size() + kLanes : 0));
  ParallelFor(pool, s.batch, workers, [&](Index b, Index worker) {
    const float* from = x.Get(b, spread[worker].data());
    if (!s.is_padded()) from = PadImage(s, from, padded[worker].data());
    float* to = y_values->typed_data() + b * y_values->element_count() / s.batch;
    float* image = y.chosen ? whole[worker].data() : to;
    ForwardImage(s, offsets, from, packed.data(), image);
    if (y.chosen)
      PoolImage(y, image, to, y_chosen->typed_data() + (to - y_values->typed_data()));
  });
  return ffi::Error::Success();
} catch (const std::bad_alloc&) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for a convolution");
}

// ---- Gradient of the kernel ----

// Partial sums, each of a fixed share of the batch.
constexpr Index kShards = 16;
// All partial sums together, in floats, so that a very large kernel does not fill the memory.
constexpr Index kMaxPartial = Index{1} << 25;
// A tile is written out only after about so many positions: small images are taken together.
constexpr Index kLongEnough = 256;
// Fewer neighbouring rows than this keep the arithmetic units waiting.
constexpr Index kFewRows = 6;

// Images that one worker takes together.
struct Group {
  const Shape& shape;
  Index room, count;        // how many there may be, and are
  const float* images;      // [room, padded_height, padded_width, channels]
  const float* cotangents;  // one matrix [room * positions, vectors * kLanes] per block
};

// Adds to gradient [rows, vectors * kLanes], for rows of the kernel that lie side by side in the
// image, which spares their addresses, or for any, each with its own offset.
template <int rows, int vectors, bool side_by_side>
void GradientTile(const Group& group, const Index* offsets, const float* __restrict cotangents,
                  float* __restrict gradient) {
  const Shape& s = group.shape;
  const Index step = s.stride_w * s.channels;
  Vector sum[rows][vectors] = {};
  for (Index b = 0; b < group.count; ++b) {
    for (Index h = 0; h < s.out_height; ++h) {
      const float* row = group.images + b * s.image_size() + h * s.stride_h * s.image_row();
      const float* from[rows];
      for (int r = 0; r < rows; ++r) from[r] = row + (side_by_side ? offsets[0] + r : offsets[r]);
      for (Index w = 0; w < s.out_width; ++w) {
        Vector value[vectors];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) value[v] = Load(cotangents + v * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
          for (int v = 0; v < vectors; ++v) sum[r][v] += from[r][w * step] * value[v];
        cotangents += vectors * kLanes;
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      float* to = gradient + (r * vectors + v) * kLanes;
      Store(Load(to) + sum[r][v], to);
    }
}

template <int rows>
struct GradientTiles {
  static void Run(const Group& group, const Index* offsets, const float* cotangents,
                  float* gradient, Index vectors, bool side_by_side) {
    auto near = vectors == 2 ? GradientTile<rows, 2, true> : GradientTile<rows, 1, true>;
    auto far = vectors == 2 ? GradientTile<rows, 2, false> : GradientTile<rows, 1, false>;
    (side_by_side ? near : far)(group, offsets, cotangents, gradient);
  }
};

// Adds the images' share to gradient, one matrix [rows, vectors * kLanes] per block.
void GradientOfGroup(const Group& group, const std::vector<Index>& offsets, float* gradient) {
  const Shape& s = group.shape;
  const bool side_by_side = s.run() >= kFewRows;
  const Index length = side_by_side ? s.run() : s.rows();
  ForBlocks(s, [&](Index first, Index vectors) {
    for (Index start = 0; start < s.rows(); start += length)
      ForTiles(length, [&](Index row, Index size) {
        row += start;
        kTable<GradientTiles>[size - 1](group, offsets.data() + row,
                                        group.cotangents + first * group.room * s.positions(),
                                        gradient + first * s.rows() + row * vectors * kLanes,
                                        vectors, side_by_side);
      });
  });
}

// Sums the shards' blocks, in order, into gradient [rows, features].
void SumShards(const Shape& s, const float* partial, Index shards, Index row, float* gradient) {
  const Index shard_size = s.rows() * s.padded_features();
  ForBlocks(s, [&](Index first, Index vectors) {
    Index features = std::min(vectors * kLanes, s.features - first);
    const float* from = partial + first * s.rows() + row * vectors * kLanes;
    float sum[kBlock] = {};
    for (Index shard = 0; shard < shards; ++shard)
      for (Index f = 0; f < vectors * kLanes; ++f) sum[f] += from[shard * shard_size + f];
    std::memcpy(gradient + row * s.features + first, sum, features * sizeof(float));
  });
}

// From images x and the gradient of what a convolution made of them, pooled or not.
ffi::Error KernelGradient(ffi::ThreadPool pool, Array x_values, Array values, Choices chosen,
                          ffi::Result<Array> gradient, Sizes size, Sizes window, Sizes strides,
                          Sizes padding) try {
  if (IsEmpty(x_values, values, *gradient)) return ffi::Error::Success();
  const Index ones[] = {1, 1};
  auto in = x_values.dimensions();
  const Images x{x_values.typed_data(), nullptr, in[0], in[1], in[2], in[3], 1, 1};
  Images y;
  Shape s;
  ffi::Error error = MakeImages(values, chosen, size, window, y);
  if (error.success())
    error = MakeShape(x, gradient->dimensions(), y, strides, padding, Sizes(ones, 2), s);
  if (error.failure()) return error;
  const Index shard_size = s.rows() * s.padded_features();
  const Index shards =
      std::max<Index>(1, std::min({s.batch, kShards, kMaxPartial / shard_size}));
  const Index most = (s.batch + shards - 1) / shards;
  const Index together = std::min(most, std::max<Index>(1, kLongEnough / s.positions()));
  std::vector<Index> offsets;
  for (Index i = 0; i < s.kernel_height; ++i)
    for (Index k = 0; k < s.run(); ++k) offsets.push_back(i * s.image_row() + k);

  const Index workers = NumWorkers(pool, shards);
  Floats partial(shards * shard_size);
  std::vector<Floats> padded(workers, Floats(s.is_padded() ? 0 : together * s.image_size()));
  std::vector<Floats> cotangents(workers,
                                 Floats(together * s.positions() * s.padded_features()));
  ParallelFor(pool, shards, workers, [&](Index shard, Index worker) {
    const Index stop = s.batch * (shard + 1) / shards;
    for (Index b = s.batch * shard / shards; b < stop; b += together) {
      const float* images = x.Get(b, nullptr);
      const Group group{s, together, std::min(together, stop - b),
                        s.is_padded() ? images : padded[worker].data(), cotangents[worker].data()};
      for (Index n = 0; n < group.count && !s.is_padded(); ++n)
        PadImage(s, images + n * x.size(), padded[worker].data() + n * s.image_size());
      ForBlocks(s, [&](Index first, Index vectors) {
        for (Index n = 0; n < group.count; ++n)
          y.CopyChannels(b + n, first, std::min(vectors * kLanes, s.features - first),
                         cotangents[worker].data() +
                             (first * together + n * vectors * kLanes) * s.positions(),
                         vectors * kLanes);
      });
      GradientOfGroup(group, offsets, partial.data() + shard * shard_size);
    }
  });
  float* to = gradient->typed_data();
  const Index parts = std::min<Index>(s.rows(), 4 * workers);
  ParallelFor(pool, parts, workers, [&](Index part, Index) {
    for (Index row = s.rows() * part / parts; row < s.rows() * (part + 1) / parts; ++row)
      SumShards(s, partial.data(), shards, row, to);
  });
  return ffi::Error::Success();
} catch (const std::bad_alloc&) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for a kernel's gradient");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(mmjax_convolve, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Choices>()
                                  .Arg<Array>()
                                  .Ret<Array>()
                                  .Ret<Choices>()
                                  .Attr<Sizes>("x_size")
                                  .Attr<Sizes>("x_window")
                                  .Attr<Sizes>("y_size")
                                  .Attr<Sizes>("y_window")
                                  .Attr<Sizes>("strides")
                                  .Attr<Sizes>("padding")
                                  .Attr<Sizes>("dilation"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(mmjax_kernel_gradient, KernelGradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Choices>()
                                  .Ret<Array>()
                                  .Attr<Sizes>("size")
                                  .Attr<Sizes>("window")
                                  .Attr<Sizes>("strides")
                                  .Attr<Sizes>("padding"));
