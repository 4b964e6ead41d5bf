#include "domain/domain_store.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "domain/folder_lock.hpp"
#include "host/dirs.hpp"
#include "proto/device_config.hpp"

namespace nagaya::domain {
namespace {

constexpr std::size_t least_of_an_id = 4;  // digits: less is more likely the beginning of a name

template <class... Fs>
struct Cases : Fs... {
  using Fs::operator()...;
};

}  // namespace

const std::string& name_of(const Domain& domain) {
  return std::visit(Cases{[](const Machine& m) -> const std::string& { return m.spec.name; }, [](const Container& c) -> const std::string& { return c.definition.name; }}, domain);
}

const char* kind_of(const Domain& domain) { return std::holds_alternative<Machine>(domain) ? "vm" : "container"; }

DomainStore::DomainStore() : DomainStore(host::state_dir(), host::runtime_dir()) {}

Result<Domain> DomainStore::find(const std::string& name) const {
  const Error unknown{fmt::format("there is no machine or container '{}'", name), {}, "'nagaya ps -a' lists them", ENOENT};
  if (!proto::plain_name(name)) return std::unexpected(unknown);
  if (::access((domains_ + "/" + name + "/machine.json").c_str(), F_OK) == 0) return machines_.find(name);
  if (::access((domains_ + "/" + name + "/container.json").c_str(), F_OK) == 0) return containers_.find(name);
  TRY_ASSIGN(auto all, list());
  std::vector<std::string> matches;
  const Domain* found = nullptr;
  for (const Domain& domain : all) {
    const auto* container = std::get_if<Container>(&domain);
    const bool by_id = container != nullptr && name.size() >= least_of_an_id && container->definition.id.starts_with(name);
    if (!by_id && !name_of(domain).starts_with(name)) continue;
    matches.push_back(name_of(domain));
    found = &domain;
  }
  if (matches.size() == 1) return *found;
  if (matches.empty()) return std::unexpected(unknown);
  return fail(fmt::format("'{}' is the beginning of more than one name", name), fmt::format("{}", fmt::join(matches, ", ")));
}

Result<std::vector<Domain>> DomainStore::list(std::vector<std::string>* unreadable) const {
  sweep_domains(domains_);
  TRY_ASSIGN(auto machines, machines_.list(unreadable));
  TRY_ASSIGN(auto containers, containers_.list(unreadable));
  std::vector<Domain> out;
  std::ranges::move(machines, std::back_inserter(out));
  std::ranges::move(containers, std::back_inserter(out));
  std::ranges::sort(out, {}, name_of);
  return out;
}

bool DomainStore::running(const Domain& domain) const {
  return std::visit(Cases{[&](const Machine& m) { return machines_.running(m); }, [&](const Container& c) { return containers_.running(c); }}, domain);
}

Result<> DomainStore::remove(const Domain& domain) const {
  return std::visit(Cases{[&](const Machine& m) { return machines_.remove(m); }, [&](const Container& c) { return containers_.remove(c); }}, domain);
}

}  // namespace nagaya::domain
