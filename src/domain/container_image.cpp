#include "domain/container_image.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include "host/fd.hpp"

namespace nagaya::domain {

void take_image(ContainerDefinition& definition, const image::Image& image) {
  definition.image = image.id;
  // A whole system's image names no program: a shell is what one wants of it.
  if (image.kind == image::Kind::disk && !definition.system && definition.command.empty() && !definition.entrypoint) definition.command = {"/bin/bash"};
}

Result<> adapt_root(const Container& container, const image::Image& image) {
  if (image.kind != image::Kind::disk) return {};
  const std::string etc = container.places.upper() + "/etc";
  if (::mkdir(container.places.upper().c_str(), 0755) != 0 || ::mkdir(etc.c_str(), 0755) != 0) return fail_errno(fmt::format("cannot make '{}'", etc));
  const host::Fd file(::open((etc + "/fstab").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file) return fail_errno("cannot make the container's fstab");
  return host::write_all(file.get(), "# a container: its root is mounted from outside\n");
}

}  // namespace nagaya::domain
