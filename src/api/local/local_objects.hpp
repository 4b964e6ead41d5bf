// Images, networks and volumes of this host.
#pragma once
#include "api/backend.hpp"

namespace nagaya::api {

class LocalObjects final : public Objects {
 public:
  Result<Json> images() override;
  Result<> pull(const std::string& reference, Task& task) override;
  /// The disk that virtual machines of an image of containers start from. ECANCELED when the task is asked to stop.
  Result<> make_disk(const std::string& image, Task& task);
  Result<> remove_image(const std::string& reference) override;
  Result<Json> networks() override;
  Result<Json> create_network(const Json& network) override;
  Result<> remove_network(const std::string& name) override;
  Result<Json> volumes() override;
  Result<Json> create_volume(const Json& volume) override;
  Result<> remove_volume(const std::string& name) override;
  Result<Json> put(const Json& document, bool dry_run) override;
};

}  // namespace nagaya::api
