#include "migrate/images.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "host/fd.hpp"

namespace nagaya::migrate {
namespace {

constexpr std::size_t page_size = 4096;
constexpr std::size_t chunk = 256 * page_size;

/// Names of the regular files of a folder, sorted.
Result<std::vector<std::string>> files_of(const std::string& folder) {
  DIR* list = ::opendir(folder.c_str());
  if (list == nullptr) return fail_errno("cannot list '" + folder + "'");
  std::vector<std::string> out;
  while (const dirent* entry = ::readdir(list)) {
    struct stat facts {};
    if (::fstatat(::dirfd(list), entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(facts.st_mode)) out.emplace_back(entry->d_name);
  }
  ::closedir(list);
  std::sort(out.begin(), out.end());
  return out;
}

bool is_log(std::string_view name) { return name.ends_with(".log"); }
bool holds_pages(std::string_view name) { return name.starts_with("pages-"); }

Result<> send_same(Stream& stream, u64 offset, u64 count, const std::string& name) {
  std::vector<u8> payload;
  put_u64(payload, offset);
  put_u64(payload, count);
  put_text(payload, name);
  return stream.send(Kind::same, payload);
}

}  // namespace

bool is_image_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name[0] == '.') return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

ImageSender::Digest ImageSender::digest_of(std::span<const u8> page) {
  // Equal digests stand for equal pages, so the guest must not be able to make two of one: SHA-256, cut to 128 bits.
  std::array<u8, EVP_MAX_MD_SIZE> full{};
  EVP_Digest(page.data(), page.size(), full.data(), nullptr, EVP_sha256(), nullptr);
  Digest out;
  std::memcpy(&out.low, full.data(), 8);
  std::memcpy(&out.high, full.data() + 8, 8);
  return out;
}

Result<u64> ImageSender::send_file(Stream& stream, const std::string& path, const std::string& name, u64 size, u32 number, Index& next) {
  TRY_ASSIGN(const host::Fd file, host::Fd::open(path, O_RDONLY | O_NOFOLLOW));
  std::vector<u8> begin;
  put_u64(begin, size);
  put_text(begin, name);
  TRY(stream.send(Kind::file_begin, begin));
  u64 sent = 0;
  std::vector<u8> buffer(chunk), literal;
  // A run of pages that the round before has one after the other.
  u64 same_offset = 0, same_count = 0;
  u32 same_file = 0;
  const auto flush_same = [&]() -> Result<> {
    if (same_count == 0) return {};
    const u64 count = std::exchange(same_count, 0);
    return send_same(stream, same_offset, count, names_[same_file]);
  };
  const auto flush_literal = [&]() -> Result<> {
    if (literal.empty()) return {};
    sent += literal.size();
    TRY(stream.send(Kind::bytes, literal));
    literal.clear();
    return {};
  };
  for (u64 at = 0; at < size;) {
    const std::size_t want = static_cast<std::size_t>(std::min<u64>(chunk, size - at));
    TRY_ASSIGN(const std::size_t got, host::read_up_to(file.get(), std::span(buffer).first(want)));
    if (got < want) return fail("image '" + name + "' became shorter while it was sent");
    for (std::size_t i = 0; i < got; i += page_size) {
      const std::span<const u8> page = std::span(buffer).subspan(i, std::min(page_size, got - i));
      if (holds_pages(name) && page.size() == page_size) {
        const Digest digest = digest_of(page);
        next.try_emplace(digest, Place{number, at + i});
        if (const auto found = pages_.find(digest); found != pages_.end()) {
          TRY(flush_literal());
          const Place place = found->second;
          if (same_count == 0 || place.file != same_file || place.offset != same_offset + same_count) {
            TRY(flush_same());
            same_file = place.file;
            same_offset = place.offset;
          }
          same_count += page_size;
          continue;
        }
      }
      TRY(flush_same());
      literal.insert(literal.end(), page.begin(), page.end());
      if (literal.size() + page_size > frame_limit) TRY(flush_literal());
    }
    at += got;
  }
  TRY(flush_same());
  TRY(flush_literal());
  TRY(stream.send(Kind::file_end));
  return sent;
}

Result<u64> ImageSender::send(Stream& stream, const std::string& folder, u32 round) {
  std::vector<u8> begin;
  put_u32(begin, round);
  TRY(stream.send(Kind::images_begin, begin));
  TRY_ASSIGN(const std::vector<std::string> names, files_of(folder));
  Index next;
  std::vector<std::string> sent_names;
  u64 sent = 0;
  for (const std::string& name : names) {
    if (is_log(name) || !is_image_name(name)) continue;
    struct stat facts {};
    const std::string path = folder + "/" + name;
    if (::stat(path.c_str(), &facts) != 0) return fail_errno("cannot look at '" + path + "'");
    const u32 number = static_cast<u32>(sent_names.size());
    sent_names.push_back(name);
    TRY_ASSIGN(const u64 literal, send_file(stream, path, name, static_cast<u64>(facts.st_size), number, next));
    if (holds_pages(name)) sent += literal;
  }
  TRY(stream.send(Kind::images_end));
  names_ = std::move(sent_names);
  pages_ = std::move(next);
  return sent;
}

namespace {

/// `count` bytes of an earlier round's file to the end of a new one.
Result<> copy_same(const std::string& before, const Frame& frame, const host::Fd& to, u64 room) {
  Fields fields(frame.payload);
  TRY_ASSIGN(u64 offset, fields.u64_value());
  TRY_ASSIGN(u64 count, fields.u64_value());
  const std::string name(fields.rest());
  if (before.empty() || !is_image_name(name)) return fail("the stream of the move is malformed", "it names an image of no round before");
  if (count > room) return fail("the stream of the move is malformed", "an image is longer than was said");
  TRY_ASSIGN(const host::Fd from, host::Fd::open(before + "/" + name, O_RDONLY | O_NOFOLLOW));
  struct stat facts {};
  if (::fstat(from.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) return fail("the stream of the move is malformed", "it names no image");
  const u64 size = static_cast<u64>(facts.st_size);
  if (offset > size || count > size - offset) return fail("the stream of the move is malformed", "it names bytes past an image's end");
  std::vector<u8> buffer(static_cast<std::size_t>(std::min<u64>(chunk, count)));
  while (count > 0) {
    const std::size_t want = static_cast<std::size_t>(std::min<u64>(buffer.size(), count));
    const ssize_t got = ::pread(from.get(), buffer.data(), want, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return fail_errno("cannot read an image of the round before");
    TRY(host::write_all(to.get(), std::span<const u8>(buffer).first(static_cast<std::size_t>(got))));
    offset += static_cast<u64>(got);
    count -= static_cast<u64>(got);
  }
  return {};
}

u64 same_count(const Frame& frame) {
  Fields fields(frame.payload);
  (void)fields.u64_value();
  return fields.u64_value().value_or(0);
}

}  // namespace

Result<> receive_images(Stream& stream, const std::string& folder, const std::string& before, const ImageLimits& limits) {
  if (::mkdir(folder.c_str(), 0700) != 0) return fail_errno("cannot make folder '" + folder + "'");
  u64 files = 0, total = 0;
  for (;;) {
    TRY_ASSIGN(const Frame begin, stream.receive());
    if (begin.kind == Kind::images_end) return {};
    if (begin.kind != Kind::file_begin) return fail("the stream of the move is malformed", "an image's beginning is missing");
    Fields fields(begin.payload);
    TRY_ASSIGN(const u64 size, fields.u64_value());
    const std::string name(fields.rest());
    if (!is_image_name(name)) return fail("the stream of the move is malformed", "an image has no plain name");
    if (++files > limits.files || size > limits.bytes - total) return fail("the move was refused", "its images are larger than allowed");
    total += size;
    const host::Fd file(::open((folder + "/" + name).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return fail_errno("cannot make image '" + name + "'");
    u64 have = 0;
    for (;;) {
      TRY_ASSIGN(const Frame frame, stream.receive());
      if (frame.kind == Kind::file_end) break;
      if (frame.kind == Kind::same) {
        TRY(copy_same(before, frame, file, size - have));
        have += same_count(frame);
      } else if (frame.kind == Kind::bytes) {
        if (frame.payload.size() > size - have) return fail("the stream of the move is malformed", "an image is longer than was said");
        TRY(host::write_all(file.get(), std::span<const u8>(frame.payload)));
        have += frame.payload.size();
      } else {
        return fail("the stream of the move is malformed", "something else came inside an image");
      }
    }
    if (have != size) return fail("the stream of the move is malformed", "an image is shorter than was said");
  }
}

}  // namespace nagaya::migrate
