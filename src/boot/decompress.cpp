#include "boot/decompress.hpp"

#include <bzlib.h>
#include <fmt/format.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>

#include "base/scope.hpp"
#include "boot/bytes.hpp"

namespace nagaya::boot {
namespace {

constexpr u32 lz4_legacy_magic = 0x184c2102;
constexpr std::size_t lz4_legacy_block = 8 * MiB;  // the most one block of this format holds
constexpr u64 decoder_memory = 256 * MiB;          // for xz and lzma dictionaries: the format allows 4 GiB

std::unexpected<Error> damaged(Compression kind, std::string why) {
  return fail(fmt::format("cannot decompress the {} data of the kernel", name(kind)), std::move(why),
              "the file may be damaged or cut short");
}

std::unexpected<Error> too_large(Compression kind, u64 limit) {
  return fail(fmt::format("cannot decompress the {} data of the kernel", name(kind)),
              fmt::format("it grows beyond {} KiB, more than it may need or the guest's memory holds", limit / KiB),
              "give the guest more memory, or check where the file comes from");
}

// Output that grows in steps as the decoder fills it, never beyond the limit (plus the one byte that shows an excess).
class Output {
 public:
  explicit Output(u64 limit) : limit_(limit) {}
  /// Room for more bytes; empty when the limit is passed.
  std::span<u8> room() {
    if (used_ == bytes_.size()) {
      if (used_ > limit_) return {};
      bytes_.resize(std::min<u64>(limit_ + 1, std::max<u64>(MiB, bytes_.size() * 2)));
    }
    // Decoders count in 32 bits.
    return std::span(bytes_).subspan(used_, std::min<std::size_t>(bytes_.size() - used_, GiB));
  }
  void filled(std::size_t count) { used_ += count; }
  [[nodiscard]] bool over() const { return used_ > limit_; }
  Unpacked take() {
    bytes_.resize(used_);
    return std::move(bytes_);
  }

 private:
  Unpacked bytes_;
  u64 limit_, used_ = 0;
};

enum class Step { more, end, failed };

// Runs a stream decoder: `step` decodes from `in` into `room`, takes off what it used and says how much it made.
template <class F>
Result<Unpacked> run(Compression kind, std::span<const u8> in, u64 limit, F step) {
  Output out(limit);
  for (;;) {
    const auto room = out.room();
    if (room.empty()) return too_large(kind, limit);
    std::size_t made = 0;
    const std::size_t before = in.size();
    const Step result = step(in, room, made);
    out.filled(made);
    if (out.over()) return too_large(kind, limit);
    if (result == Step::failed) return damaged(kind, "it is corrupt");
    if (result == Step::end) return out.take();
    if (made == 0 && in.size() == before) return damaged(kind, "it ends too early");
  }
}

std::size_t chunk(std::span<const u8> in) { return std::min<std::size_t>(in.size(), GiB); }

Result<Unpacked> gunzip(std::span<const u8> data, u64 limit) {
  z_stream z{};
  if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) return damaged(Compression::gzip, "no memory for the decoder");
  ScopeExit end([&] { inflateEnd(&z); });
  return run(Compression::gzip, data, limit, [&](std::span<const u8>& in, std::span<u8> room, std::size_t& made) {
    z.next_in = const_cast<u8*>(in.data());
    z.avail_in = static_cast<uInt>(chunk(in));
    z.next_out = room.data();
    z.avail_out = static_cast<uInt>(room.size());
    const int code = inflate(&z, Z_NO_FLUSH);
    in = in.subspan(chunk(in) - z.avail_in);
    made = room.size() - z.avail_out;
    return code == Z_STREAM_END ? Step::end : code == Z_OK || code == Z_BUF_ERROR ? Step::more : Step::failed;
  });
}

Result<Unpacked> bunzip(std::span<const u8> data, u64 limit) {
  bz_stream z{};
  if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK) return damaged(Compression::bzip2, "no memory for the decoder");
  ScopeExit end([&] { BZ2_bzDecompressEnd(&z); });
  return run(Compression::bzip2, data, limit, [&](std::span<const u8>& in, std::span<u8> room, std::size_t& made) {
    z.next_in = reinterpret_cast<char*>(const_cast<u8*>(in.data()));
    z.avail_in = static_cast<unsigned>(chunk(in));
    z.next_out = reinterpret_cast<char*>(room.data());
    z.avail_out = static_cast<unsigned>(room.size());
    const int code = BZ2_bzDecompress(&z);
    in = in.subspan(chunk(in) - z.avail_in);
    made = room.size() - z.avail_out;
    return code == BZ_STREAM_END ? Step::end : code == BZ_OK ? Step::more : Step::failed;
  });
}

Result<Unpacked> unlzma(Compression kind, std::span<const u8> data, u64 limit) {
  lzma_stream z = LZMA_STREAM_INIT;
  const lzma_ret init = kind == Compression::xz ? lzma_stream_decoder(&z, decoder_memory, 0)
                                                : lzma_alone_decoder(&z, decoder_memory);
  if (init != LZMA_OK) return damaged(kind, "no memory for the decoder");
  ScopeExit end([&] { lzma_end(&z); });
  lzma_ret code = LZMA_OK;
  auto out = run(kind, data, limit, [&](std::span<const u8>& in, std::span<u8> room, std::size_t& made) {
    z.next_in = in.data();
    z.avail_in = in.size();
    z.next_out = room.data();
    z.avail_out = room.size();
    code = lzma_code(&z, LZMA_RUN);
    in = in.subspan(in.size() - z.avail_in);
    made = room.size() - z.avail_out;
    return code == LZMA_STREAM_END ? Step::end : code == LZMA_OK || code == LZMA_BUF_ERROR ? Step::more : Step::failed;
  });
  if (!out && code == LZMA_MEMLIMIT_ERROR) {
    return damaged(kind, fmt::format("its dictionary needs more than {} MiB", decoder_memory / MiB));
  }
  return out;
}

Result<Unpacked> unzstd(std::span<const u8> data, u64 limit) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> z(ZSTD_createDCtx(), ZSTD_freeDCtx);
  if (!z) return damaged(Compression::zstd, "no memory for the decoder");
  return run(Compression::zstd, data, limit, [&](std::span<const u8>& in, std::span<u8> room, std::size_t& made) {
    ZSTD_inBuffer source{in.data(), in.size(), 0};
    ZSTD_outBuffer target{room.data(), room.size(), 0};
    const std::size_t code = ZSTD_decompressStream(z.get(), &target, &source);
    in = in.subspan(source.pos);
    made = target.pos;
    return ZSTD_isError(code) ? Step::failed : code == 0 ? Step::end : Step::more;
  });
}

// The "legacy" LZ4 frame: magic, then blocks of a 32-bit size and that many bytes. Linux appends the 32-bit size of the
// whole output, which reads like the head of a further block: a last lone word therefore ends the data.
Result<Unpacked> unlz4(std::span<const u8> data, u64 limit) {
  Unpacked out;
  if (const auto size = peek<u32>(data, data.size() - 4); size && *size <= limit) out.reserve(*size + lz4_legacy_block);
  data = data.subspan(4);
  while (data.size() > 4) {
    const u32 size = *peek<u32>(data, 0);
    data = data.subspan(4);
    if (size == lz4_legacy_magic) continue;  // a further frame
    if (size == 0) break;
    if (size > data.size()) return damaged(Compression::lz4, "a block reaches past the end of the data");
    if (size > static_cast<u32>(LZ4_compressBound(lz4_legacy_block))) {
      return damaged(Compression::lz4, "a block is larger than the format allows");
    }
    const std::size_t at = out.size();
    out.resize(at + lz4_legacy_block);
    const int made = LZ4_decompress_safe(reinterpret_cast<const char*>(data.data()), reinterpret_cast<char*>(&out[at]),
                                         static_cast<int>(size), static_cast<int>(lz4_legacy_block));
    if (made < 0) return damaged(Compression::lz4, "it is corrupt");
    out.resize(at + static_cast<std::size_t>(made));
    if (out.size() > limit) return too_large(Compression::lz4, limit);
    data = data.subspan(size);
  }
  if (out.empty()) return damaged(Compression::lz4, "it ends too early");
  return out;
}

template <std::size_t N>
bool begins(std::span<const u8> data, const std::array<u8, N>& magic) {
  return data.size() >= N && std::ranges::equal(data.first(N), magic);
}

}  // namespace

const char* name(Compression compression) {
  switch (compression) {
    case Compression::gzip: return "gzip";
    case Compression::bzip2: return "bzip2";
    case Compression::lzma: return "lzma";
    case Compression::xz: return "xz";
    case Compression::lz4: return "lz4";
    case Compression::zstd: return "zstd";
    case Compression::lzo: return "lzo";
    case Compression::unknown: break;
  }
  return "unknown";
}

Compression detect_compression(std::span<const u8> data) {
  if (begins(data, std::array<u8, 3>{0x1f, 0x8b, 8})) return Compression::gzip;
  if (begins(data, std::array<u8, 3>{'B', 'Z', 'h'})) return Compression::bzip2;
  if (begins(data, std::array<u8, 6>{0xfd, '7', 'z', 'X', 'Z', 0})) return Compression::xz;
  if (begins(data, std::array<u8, 4>{2, 0x21, 0x4c, 0x18})) return Compression::lz4;
  if (begins(data, std::array<u8, 4>{0x28, 0xb5, 0x2f, 0xfd})) return Compression::zstd;
  if (begins(data, std::array<u8, 4>{0x89, 'L', 'Z', 'O'})) return Compression::lzo;
  // lzma has no magic: properties 0x5d (lc=3 lp=0 pb=2), then a dictionary size that is a multiple of 64 KiB.
  if (begins(data, std::array<u8, 3>{0x5d, 0, 0})) return Compression::lzma;
  return Compression::unknown;
}

Result<Unpacked> decompress(std::span<const u8> data, u64 limit) {
  switch (const Compression kind = detect_compression(data)) {
    case Compression::gzip: return gunzip(data, limit);
    case Compression::bzip2: return bunzip(data, limit);
    case Compression::lzma:
    case Compression::xz: return unlzma(kind, data, limit);
    case Compression::lz4: return unlz4(data, limit);
    case Compression::zstd: return unzstd(data, limit);
    case Compression::lzo:
    case Compression::unknown: break;
  }
  return fail("cannot decompress the kernel", fmt::format("its compression is {}", name(detect_compression(data))),
              "known are gzip, bzip2, lzma, xz, lz4 and zstd");
}

}  // namespace nagaya::boot
