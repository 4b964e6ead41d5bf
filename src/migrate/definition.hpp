// What the source says about the container before anything else.
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace nagaya::migrate {

struct Definition {
  std::string id, config;  ///< config.json's text
  bool chained = false;    ///< each round of images builds on the one before (the kernel marks written pages)
  bool tcp_established = false, ext_unix_sk = false, shell_job = false, file_locks = false;
  bool lazy = false;       ///< memory follows when it runs
};

std::string write_definition(const Definition& definition);
Result<Definition> parse_definition(std::string_view json);

}  // namespace nagaya::migrate
