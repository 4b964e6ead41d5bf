// What the store makes of an image's layers when it is first wanted: disks, and folders for overlayfs.
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "image/store.hpp"
#include "image/unpack.hpp"

namespace nagaya::image {

Result<> Store::add_disk(const Image& image, const std::string& qcow2) {
  TRY_ASSIGN(const host::Fd held, lock());
  if (::access(manifest_path(image.id).c_str(), F_OK) != 0) return fail("the image was removed meanwhile");
  if (::chmod(qcow2.c_str(), 0444) != 0 || ::rename(qcow2.c_str(), disk_path(image.id).c_str()) != 0) return fail_errno("cannot keep the disk");
  return {};
}

Result<std::string> Store::unpacked(const Image& image, const ImageLayer& layer, bool user_namespace, const Work& work) const {
  // Marks of the two kinds differ, so that both may be there.
  const std::string folder = fmt::format("{}/layers/{}{}", dir_, layer.sha256, user_namespace ? "-user" : "");
  if (::access(folder.c_str(), F_OK) == 0) return folder + "/fs";
  TRY_ASSIGN(const Scratch aside, scratch());
  const std::string made = aside.path() + "/layer";
  if (::mkdir(made.c_str(), 0700) != 0 || ::mkdir((made + "/fs").c_str(), 0755) != 0) return fail_errno(fmt::format("cannot make a folder in '{}'", aside.path()));
  const UnpackOptions options{.whiteouts = image.kind == Kind::oci, .user_namespace = user_namespace};
  TRY_ASSIGN(const u64 bytes, unpack_layer(layer.path, made + "/fs", options, work));
  const std::string text = std::to_string(bytes) + "\n";
  TRY(host::replace_file(made + "/bytes", {reinterpret_cast<const u8*>(text.data()), text.size()}));
  // What is found after a crash is whole.
  TRY_ASSIGN(const host::Fd root, host::Fd::open(made + "/fs", O_RDONLY | O_DIRECTORY));
  if (::syncfs(root.get()) != 0) return fail_errno("cannot write a layer to the disk");
  TRY_ASSIGN(const host::Fd held, lock());
  if (::access(manifest_path(image.id).c_str(), F_OK) != 0) return fail("the image was removed meanwhile");
  // Another may have been faster; its folder is as good.
  if (::rename(made.c_str(), folder.c_str()) != 0 && errno != EEXIST && errno != ENOTEMPTY) return fail_errno("cannot keep an unpacked layer");
  return folder + "/fs";
}

}  // namespace nagaya::image
