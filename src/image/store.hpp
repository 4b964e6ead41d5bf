// The images of this host: files by their SHA-256, a manifest for each image, and names. Everything is made aside and
// renamed into place, so that readers need no lock; whoever changes something holds the store's lock.
//
//   blobs/HASH           content; read only
//   manifests/ID.json    see manifest.hpp; ID is the file's own SHA-256
//   names.json           {"NAME:TAG": "ID"}
//   disks/ID.qcow2       the disk of an image of layers, made when the first machine wanted it
//   layers/HASH/fs       a layer unpacked for overlayfs, made when the first container wanted it; HASH/bytes: of its files
//   scratch/             folders of work in progress
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "host/fd.hpp"
#include "image/image.hpp"
#include "image/manifest.hpp"
#include "image/tool.hpp"

namespace nagaya::image {

/// A new image; its files are moved into the store when they lie on its file system (as those in a Scratch do).
struct NewImage {
  Kind kind = Kind::disk;
  std::string name{};  ///< NAME[:TAG]; empty: none
  std::string source{};
  std::string disk{}, disk_format{};  ///< path; "qcow2" or "raw"
  u64 disk_size = 0;
  std::string kernel{}, initrd{};  ///< paths
  std::string append{};
  OciConfig oci{};
  std::vector<std::string> layers{};  ///< paths of archives
};

/// A folder for work in progress, removed in the end; what a killed process left is removed by the next one.
class Scratch {
 public:
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  friend class Store;
  Scratch(std::string path, host::Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::string path_;
  host::Fd lock_;
};

class Store {
 public:
  /// state_dir()/images and state_dir()/domains.
  static Result<Store> open();
  /// Makes `dir` when it is not there. Each folder of `machines` is a machine or a container, whose machine.json or container.json
  /// says under "image" the id it depends on.
  static Result<Store> open(std::string dir, std::string machines);

  /// By NAME[:TAG], id, or the beginning of one that no other has. An image without kernel gets that of "kernel:latest"
  /// where there is one.
  [[nodiscard]] Result<Image> find(std::string_view reference) const;
  /// All, newest first.
  [[nodiscard]] Result<std::vector<Image>> list() const;
  /// Takes the name away; with the last one, or by id, the image and its files that no other image has. An image in use
  /// by a machine is refused. Gives the id when the image itself is gone.
  Result<std::optional<std::string>> remove(std::string_view reference);
  /// Puts a new image in; its name moves to it.
  Result<Image> add(const NewImage& image);
  /// Gives a name to an image; another image loses it.
  Result<> tag(std::string_view reference, std::string_view name);
  /// Reads all of an image's files and compares their hashes.
  [[nodiscard]] Result<> verify(const Image& image) const;
  /// Machines and containers that depend on an image.
  [[nodiscard]] std::vector<std::string> users(const std::string& id) const;
  [[nodiscard]] Result<Scratch> scratch() const;
  /// Puts the disk of an image of layers in; it is moved.
  Result<> add_disk(const Image& image, const std::string& qcow2);
  /// The folder of an unpacked layer; unpacks it the first time. `user_namespace`: see unpack.hpp.
  [[nodiscard]] Result<std::string> unpacked(const Image& image, const ImageLayer& layer, bool user_namespace, const Work& work) const;
  [[nodiscard]] const std::string& dir() const { return dir_; }

 private:
  Store(std::string dir, std::string machines) : dir_(std::move(dir)), machines_(std::move(machines)) {}
  using Names = std::map<std::string, std::string>;  // NAME:TAG → id

  [[nodiscard]] Result<host::Fd> lock() const;
  [[nodiscard]] std::string blob_path(const std::string& hash) const { return dir_ + "/blobs/" + hash; }
  [[nodiscard]] std::string manifest_path(const std::string& id) const { return dir_ + "/manifests/" + id + ".json"; }
  [[nodiscard]] Result<Names> names() const;
  [[nodiscard]] Result<> write_names(const Names& names) const;
  [[nodiscard]] Result<std::vector<std::string>> ids() const;
  [[nodiscard]] Result<Manifest> manifest(const std::string& id) const;
  [[nodiscard]] Result<std::string> resolve(std::string_view reference, const Names& names) const;
  [[nodiscard]] Result<Image> load(const std::string& id, const Names& names) const;
  [[nodiscard]] Result<Blob> take(const std::string& path) const;
  [[nodiscard]] Result<> sweep() const;
  [[nodiscard]] std::string disk_path(const std::string& id) const { return dir_ + "/disks/" + id + ".qcow2"; }

  std::string dir_, machines_;
};

}  // namespace nagaya::image
