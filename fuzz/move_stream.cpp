// What comes over the stream of a container that moves, or from a file it was saved to: frames, the named container, the definition, rounds of
// images. Trees of files are left out: a process with the folder as its root unpacks them by libarchive. Images land in a folder of the
// target's own, under plain names; what was understood is said again in the same way.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "domain/container_move.hpp"
#include "fuzz.hpp"
#include "host/fd.hpp"
#include "migrate/definition.hpp"
#include "migrate/images.hpp"

namespace {

using namespace nagaya;
namespace fs = std::filesystem;

/// A folder that goes with its object.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "nagaya-fuzz-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void check_definition(std::string_view text) {
  const auto read = migrate::parse_definition(text);
  if (!read) return;
  const std::string again = migrate::write_definition(*read);
  const auto twice = migrate::parse_definition(again);
  if (!twice || migrate::write_definition(*twice) != again) std::abort();
}

void check_arrival(std::string_view text) {
  const auto read = domain::read_arrival(text);
  if (!read) return;
  if (!read->definition.validate()) std::abort();
  const auto again = domain::read_arrival(domain::write_arrival(*read));
  // From this same host: without its id.
  auto wanted = read->definition;
  wanted.id.clear();
  if (!again || again->definition != wanted || again->layers != read->layers) std::abort();
}

/// The same input as a stream that nobody answers.
void read_frames(std::span<const u8> input, const std::string& folder) {
  auto file = host::Fd::memfd("stream", 0);
  if (!file || !host::write_all(file->get(), input) || ::lseek(file->get(), 0, SEEK_SET) != 0) std::abort();
  migrate::Stream stream(file->get(), -1);
  const migrate::ImageLimits limits{.files = 16, .bytes = 1 << 20};
  std::string before;
  int round = 0;
  while (const auto frame = stream.receive()) {
    if (frame->payload.size() > migrate::frame_limit) std::abort();
    if (frame->kind == migrate::Kind::definition) check_definition(frame->text());
    if (frame->kind == migrate::Kind::domain) check_arrival(frame->text());
    if (frame->kind != migrate::Kind::images_begin) continue;
    const std::string place = folder + "/round-" + std::to_string(++round);
    if (!migrate::receive_images(stream, place, before, limits)) break;
    before = place;
  }
  u64 bytes = 0;
  for (const auto& item : fs::recursive_directory_iterator(folder)) {
    if (item.is_symlink() || !(item.is_directory() || item.is_regular_file())) std::abort();
    if (item.is_regular_file()) bytes += item.file_size();
  }
  if (bytes > limits.bytes * static_cast<u64>(round)) std::abort();
}

void put(std::vector<u8>& out, migrate::Kind kind, const std::vector<u8>& payload) {
  migrate::put_u32(out, static_cast<u32>(kind));
  migrate::put_u32(out, static_cast<u32>(payload.size()));
  out.insert(out.end(), payload.begin(), payload.end());
}
std::vector<u8> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

void put_round(std::vector<u8>& out, u32 round, bool same) {
  std::vector<u8> number, head, part;
  migrate::put_u32(number, round);
  put(out, migrate::Kind::images_begin, number);
  migrate::put_u64(head, 6);
  migrate::put_text(head, "pages-1.img");
  put(out, migrate::Kind::file_begin, head);
  if (same) {
    migrate::put_u64(part, 0);
    migrate::put_u64(part, 6);
    migrate::put_text(part, "pages-1.img");
  }
  put(out, same ? migrate::Kind::same : migrate::Kind::bytes, same ? part : bytes_of("memory"));
  put(out, migrate::Kind::file_end, {});
  put(out, migrate::Kind::images_end, {});
}

}  // namespace

std::vector<std::vector<u8>> nagaya::fuzz::seeds() {
  domain::ContainerDefinition container;
  container.name = "web";
  container.id = std::string(64, 'a');
  container.image = std::string(64, 'b');
  container.image_name = "debian";
  container.created = "2026-01-02T03:04:05Z";
  std::vector<u8> all;
  put(all, migrate::Kind::domain, bytes_of(domain::write_arrival({.definition = container, .address = "10.89.0.2/24", .layers = {std::string(64, 'c')}})));
  put(all, migrate::Kind::definition, bytes_of(migrate::write_definition({.id = "web", .config = "{}", .chained = true})));
  put_round(all, 1, false);
  put_round(all, 2, true);
  put(all, migrate::Kind::restore, {});
  put(all, migrate::Kind::commit, {});
  std::vector<u8> given_up;
  put(given_up, migrate::Kind::failed, bytes_of("no room"));
  return {all, given_up};
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  const Folder folder;
  read_frames({data, size}, folder.path());
  return 0;
}
