// What folders of machines and of containers have in common: their locks, times and names.
#pragma once
#include <functional>
#include <string>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::domain {

/// Takes the lock of a folder: of the open file, so that a child that inherits the descriptor holds it, too. EBUSY: someone has it.
[[nodiscard]] Result<host::Fd> lock_folder(const std::string& folder);
/// Looks without taking it.
[[nodiscard]] bool folder_locked(const std::string& folder);
/// "2026-01-02T03:04:05Z"
[[nodiscard]] std::string now_utc();
/// A name below `folder` that is not taken, of the form image-NNNN; `otherwise` when the image's name gives nothing.
[[nodiscard]] std::string fresh_name_in(const std::string& folder, const std::string& image, const char* otherwise);
/// Makes the folder `domains`/`name`: `fill` writes into one aside, which gets its name as the last step. A kill in between leaves no domain,
/// and the name is free. Also sweeps away what killed commands have left aside. EEXIST: the name is taken.
[[nodiscard]] Result<> make_domain_folder(const std::string& domains, const std::string& name, const std::function<Result<>(const std::string& folder)>& fill);
/// Removes what killed commands have left aside, without waiting for anybody. Best effort: who may not, leaves it there.
void sweep_domains(const std::string& domains);
/// Takes the domain's name away first, in one step; then its files. For whoever holds its lock.
[[nodiscard]] Result<> remove_domain_folder(const std::string& domains, const std::string& name);
/// Gives a domain's folder another name; one that is there already is an error.
[[nodiscard]] Result<> rename_folder(const std::string& from, const std::string& to);
/// mkdir -p.
[[nodiscard]] Result<> make_folders(const std::string& path);

}  // namespace nagaya::domain
