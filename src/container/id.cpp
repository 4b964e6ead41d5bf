#include "container/id.hpp"

namespace nagaya::container {

Result<> check_id(std::string_view id) {
  constexpr std::string_view allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-";
  if (id.empty() || id.size() > id_limit || id == "." || id == ".." || id.find_first_not_of(allowed) != id.npos) {
    return fail("invalid container id '" + std::string(id.substr(0, 64)) + "'", "",
                "an id has 1 to 1024 letters, digits and characters of _+.- and is not '.' or '..'");
  }
  return {};
}

}  // namespace nagaya::container
