#include "image/store.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <set>

#include "base/scope.hpp"
#include "host/dirs.hpp"
#include "image/digest.hpp"
#include "image/reference.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::image {
namespace {

namespace fs = std::filesystem;

constexpr const char* kernel_name = "kernel:latest";

std::span<const u8> bytes_of(const std::string& text) { return {reinterpret_cast<const u8*>(text.data()), text.size()}; }

Result<std::string> read_text(const std::string& path) {
  TRY_ASSIGN(const std::vector<u8> bytes, host::read_file(path, proto::longest_json));
  return std::string(bytes.begin(), bytes.end());
}

/// The file's data and then its name are on the disk: rename makes it visible.
Result<> settle(const std::string& from, const std::string& to) {
  TRY_ASSIGN(const host::Fd file, host::Fd::open(from, O_RDONLY));
  if (::fsync(file.get()) != 0 || ::rename(from.c_str(), to.c_str()) != 0) return fail_errno(fmt::format("cannot write '{}'", to));
  TRY_ASSIGN(const host::Fd folder, host::Fd::open(fs::path(to).parent_path(), O_RDONLY | O_DIRECTORY));
  if (::fsync(folder.get()) != 0) return fail_errno(fmt::format("cannot write '{}'", to));
  return {};
}

Result<u64> size_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return fail_errno(fmt::format("cannot read '{}'", path));
  if (!S_ISREG(info.st_mode)) return fail(fmt::format("'{}' is no regular file", path));
  return static_cast<u64>(info.st_size);
}

/// What a qcow2 file says of its size (QEMU's docs/interop/qcow2.txt, bytes 24 to 31); 0: it is none.
u64 qcow2_size(const std::string& path) {
  auto file = host::Fd::open(path, O_RDONLY);
  std::array<u8, 32> head{};
  if (!file) return 0;
  const auto got = host::read_up_to(file->get(), head);
  if (!got || *got != head.size() || head[0] != 'Q' || head[1] != 'F' || head[2] != 'I' || head[3] != 0xfb) return 0;
  u64 size = 0;
  for (std::size_t i = 24; i < head.size(); ++i) size = size << 8 | head[i];
  return size;
}

}  // namespace

Scratch::~Scratch() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

Result<Store> Store::open() { return open(host::state_dir() + "/images", host::state_dir() + "/domains"); }

Result<Store> Store::open(std::string dir, std::string machines) {
  for (const char* part : {"/blobs", "/manifests", "/scratch", "/disks", "/layers"}) {
    std::error_code error;
    fs::create_directories(dir + part, error);
    if (error) return fail_errno(fmt::format("cannot make '{}'", dir + part), error.value());
  }
  return Store(std::move(dir), std::move(machines));
}

Result<host::Fd> Store::lock() const {
  TRY_ASSIGN(host::Fd fd, host::Fd::open(dir_ + "/lock", O_RDWR | O_CREAT));
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno("cannot lock the image store");
  }
  return fd;
}

Result<Store::Names> Store::names() const {
  const std::string path = dir_ + "/names.json";
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return Names{};
  TRY_ASSIGN(const std::string text, read_text(path));
  TRY_ASSIGN(const nlohmann::json object, proto::parse_object(text, path));
  Names out;
  for (const auto& [name, id] : object.items()) {
    if (!id.is_string() || !is_sha256(id.get<std::string>())) return fail(path, "a name has no id");
    out[name] = id.get<std::string>();
  }
  return out;
}

Result<> Store::write_names(const Names& names) const {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const auto& [name, id] : names) object[name] = id;
  return host::replace_file(dir_ + "/names.json", bytes_of(proto::print(object, 2) + "\n"));
}

Result<std::vector<std::string>> Store::ids() const {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(dir_ + "/manifests", error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".json" && is_sha256(it->path().stem().string())) out.push_back(it->path().stem());
  }
  if (error) return fail_errno(fmt::format("cannot read '{}/manifests'", dir_), error.value());
  return out;
}

Result<Manifest> Store::manifest(const std::string& id) const {
  const std::string what = fmt::format("image {}", id.substr(0, 12));
  TRY_ASSIGN(const std::string text, read_text(manifest_path(id)));
  if (sha256(text) != id) return fail(what, "its manifest was changed", fmt::format("remove it with 'nagaya rmi {}' and make it again", id.substr(0, 12)));
  return Manifest::from_json(text, what);
}

Result<std::string> Store::resolve(std::string_view reference, const Names& names) const {
  TRY_ASSIGN(const auto all, ids());
  if (auto parsed = Reference::parse(reference)) {
    if (const auto it = names.find(parsed->text()); it != names.end()) {
      if (std::ranges::find(all, it->second) != all.end()) return it->second;
    }
  }
  std::vector<std::string> matches;
  if (is_hex(reference)) {
    std::ranges::copy_if(all, std::back_inserter(matches), [&](const auto& id) { return id.starts_with(reference); });
  }
  if (matches.size() == 1) return matches[0];
  if (matches.size() > 1) {
    return fail(fmt::format("'{}' could be several images", reference), fmt::format("{} ids begin so", matches.size()), "give more digits");
  }
  Error error{fmt::format("there is no image '{}'", reference.substr(0, 300)), {}, "'nagaya images' lists those there are", ENOENT};
  if (reference == "debian" || reference == "kernel") error.hint = fmt::format("make it: nagaya build {}", reference);
  return std::unexpected(std::move(error));
}

Result<Image> Store::load(const std::string& id, const Names& names) const {
  TRY_ASSIGN(const Manifest m, manifest(id));
  Image out{.id = id, .created = m.created, .kind = m.kind, .source = m.source, .disk_size = m.disk_size,
            .disk_format = m.disk_format, .append = m.append, .oci = m.oci};
  for (const auto& [name, its_id] : names) {
    if (its_id == id) out.names.push_back(name);
  }
  for (const auto& [role, blob] : m.blobs) {
    out.size += blob.size;
    (role == "disk" ? out.disk_path : role == "kernel" ? out.kernel_path : out.initrd_path) = blob_path(blob.sha256);
  }
  for (const Blob& layer : m.layers) {
    out.size += layer.size;
    out.layers.push_back({layer.sha256, blob_path(layer.sha256), layer.size});
  }
  if (out.disk_path.empty() && !out.layers.empty()) {
    if (const u64 size = qcow2_size(disk_path(id)); size != 0) {
      out.disk_path = disk_path(id);
      out.disk_format = "qcow2";
      out.disk_size = size;
    }
  }
  return out;
}

Result<Image> Store::find(std::string_view reference) const {
  TRY_ASSIGN(const Names all, names());
  TRY_ASSIGN(const std::string id, resolve(reference, all));
  TRY_ASSIGN(Image out, load(id, all));
  if (out.kernel_path.empty()) {
    if (const auto kernel = all.find(kernel_name); kernel != all.end()) {
      TRY_ASSIGN(const Image other, load(kernel->second, all));
      out.kernel_path = other.kernel_path;
      out.initrd_path = other.initrd_path;
    }
  }
  return out;
}

Result<std::vector<Image>> Store::list() const {
  TRY_ASSIGN(const Names all, names());
  TRY_ASSIGN(const auto every, ids());
  std::vector<Image> out;
  for (const std::string& id : every) {
    TRY_ASSIGN(Image image, load(id, all));
    out.push_back(std::move(image));
  }
  std::ranges::sort(out, [](const Image& a, const Image& b) { return std::tie(b.created, a.id) < std::tie(a.created, b.id); });
  return out;
}

std::vector<std::string> Store::users(const std::string& id) const {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(machines_, error), end; !error && it != end; it.increment(error)) {
    auto text = read_text(it->path() / "machine.json");
    if (!text) text = read_text(it->path() / "container.json");
    if (!text) continue;
    const auto object = nlohmann::json::parse(*text, nullptr, false);
    if (object.is_object() && object.contains("image") && object["image"] == id) out.push_back(it->path().filename());
  }
  std::ranges::sort(out);
  return out;
}

Result<Blob> Store::take(const std::string& path) const {
  TRY_ASSIGN(const u64 size, size_of(path));
  TRY_ASSIGN(const std::string hash, sha256_of_file(path));
  const std::string place = blob_path(hash);
  if (::access(place.c_str(), F_OK) == 0) return Blob{hash, size};
  if (::chmod(path.c_str(), 0444) != 0) return fail_errno(fmt::format("cannot change '{}'", path));
  TRY(settle(path, place));
  return Blob{hash, size};
}

Result<Image> Store::add(const NewImage& image) {
  std::string name;
  if (!image.name.empty()) {
    TRY_ASSIGN(const Reference parsed, Reference::parse(image.name));
    name = parsed.text();
  }
  TRY_ASSIGN(const host::Fd held, lock());
  Manifest m{.kind = image.kind, .created = static_cast<u64>(std::time(nullptr)), .source = image.source,
             .disk_format = image.disk_format, .append = image.append, .disk_size = image.disk_size, .oci = image.oci};
  for (const auto& [role, path] : {std::pair{"disk", image.disk}, std::pair{"kernel", image.kernel}, std::pair{"initrd", image.initrd}}) {
    if (path.empty()) continue;
    TRY_ASSIGN(m.blobs[role], take(path));
  }
  for (const std::string& path : image.layers) {
    TRY_ASSIGN(Blob layer, take(path));
    m.layers.push_back(std::move(layer));
  }
  const std::string text = m.to_json();
  TRY(Manifest::from_json(text, "the new image"));
  const std::string id = sha256(text);
  TRY(host::replace_file(manifest_path(id), bytes_of(text)));
  TRY_ASSIGN(Names all, names());
  if (!name.empty()) {
    all[name] = id;
    TRY(write_names(all));
  }
  return load(id, all);
}

Result<> Store::tag(std::string_view reference, std::string_view name) {
  TRY_ASSIGN(const Reference parsed, Reference::parse(name));
  TRY_ASSIGN(const host::Fd held, lock());
  TRY_ASSIGN(Names all, names());
  TRY_ASSIGN(const std::string id, resolve(reference, all));
  all[parsed.text()] = id;
  return write_names(all);
}

Result<std::optional<std::string>> Store::remove(std::string_view reference) {
  TRY_ASSIGN(const host::Fd held, lock());
  TRY_ASSIGN(Names all, names());
  TRY_ASSIGN(const std::string id, resolve(reference, all));
  auto parsed = Reference::parse(reference);
  const bool by_name = parsed && all.contains(parsed->text()) && all[parsed->text()] == id;
  const auto left = std::ranges::count_if(all, [&](const auto& entry) { return entry.second == id; });
  if (by_name && left > 1) {
    all.erase(parsed->text());
    TRY(write_names(all));
    return std::nullopt;
  }
  if (const auto machines = users(id); !machines.empty()) {
    return fail(fmt::format("cannot remove image '{}'", reference), fmt::format("'{}' depends on it", machines[0]),
                fmt::format("'nagaya rm {}' first", machines[0]));
  }
  std::erase_if(all, [&](const auto& entry) { return entry.second == id; });
  TRY(write_names(all));
  if (::unlink(manifest_path(id).c_str()) != 0) return fail_errno(fmt::format("cannot remove image '{}'", reference));
  TRY(sweep());
  return id;
}

/// Removes content that no manifest names. The caller holds the lock.
Result<> Store::sweep() const {
  std::set<std::string> used;
  TRY_ASSIGN(const auto every, ids());
  for (const std::string& id : every) {
    auto m = manifest(id);
    if (!m) return {};  // what a damaged manifest names is not known
    for (const auto& [role, blob] : m->blobs) used.insert(blob.sha256);
    for (const Blob& layer : m->layers) used.insert(layer.sha256);
    used.insert(id + ".qcow2");
  }
  std::error_code error;
  for (fs::directory_iterator it(dir_ + "/blobs", error), end; !error && it != end; it.increment(error)) {
    if (!used.contains(it->path().filename())) ::unlink(it->path().c_str());
  }
  for (fs::directory_iterator it(dir_ + "/disks", error), end; !error && it != end; it.increment(error)) {
    if (!used.contains(it->path().filename())) ::unlink(it->path().c_str());
  }
  for (fs::directory_iterator it(dir_ + "/layers", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (used.contains(name.substr(0, 64))) continue;
    // Out of the way as one step: half a layer must not be found again.
    const std::string gone = fmt::format("{}/scratch/{}.{}", dir_, name, ::getpid());
    std::error_code ignored;
    fs::rename(it->path(), gone, ignored);
    fs::remove_all(gone, ignored);
  }
  return {};
}

Result<> Store::verify(const Image& image) const {
  TRY_ASSIGN(const Manifest m, manifest(image.id));
  for (const auto& [role, blob] : m.blobs) {
    TRY_ASSIGN(const std::string hash, sha256_of_file(blob_path(blob.sha256)));
    if (hash != blob.sha256) {
      return fail(fmt::format("image {}", image.id.substr(0, 12)), fmt::format("the content of its {} was changed", role),
                  fmt::format("remove it with 'nagaya rmi {}' and make it again", image.id.substr(0, 12)));
    }
  }
  for (const Blob& layer : m.layers) {
    TRY_ASSIGN(const std::string hash, sha256_of_file(blob_path(layer.sha256)));
    if (hash != layer.sha256) return fail(fmt::format("image {}", image.id.substr(0, 12)), fmt::format("layer {} was changed", layer.sha256.substr(0, 12)));
  }
  return {};
}

Result<Scratch> Store::scratch() const {
  const std::string root = dir_ + "/scratch";
  TRY_ASSIGN(const host::Fd held, lock());
  // A folder whose lock nobody holds was left by a process that was killed.
  std::error_code error;
  for (fs::directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
    auto fd = host::Fd::open(it->path(), O_RDONLY | O_DIRECTORY);
    if (fd && ::flock(fd->get(), LOCK_EX | LOCK_NB) == 0) {
      std::error_code ignored;
      fs::remove_all(it->path(), ignored);
    }
  }
  std::string path = root + "/XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return fail_errno(fmt::format("cannot make a folder in '{}'", root));
  TRY_ASSIGN(host::Fd fd, host::Fd::open(path, O_RDONLY | O_DIRECTORY));
  if (::flock(fd.get(), LOCK_EX) != 0) return fail_errno(fmt::format("cannot lock '{}'", path));
  return Scratch(std::move(path), std::move(fd));
}

}  // namespace nagaya::image
