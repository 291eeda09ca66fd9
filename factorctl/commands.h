// The commands of factorctl, in the order in which the help lists them.
#pragma once

#include <memory>
#include <vector>

#include "factorctl/command.h"

namespace factord {

std::unique_ptr<Command> NewRateCommand();
std::unique_ptr<Command> NewImportCommand();
std::unique_ptr<Command> NewRecommendCommand();
std::unique_ptr<Command> NewPredictCommand();
std::unique_ptr<Command> NewTopicsCommand();
std::unique_ptr<Command> NewFactorsCommand();
std::unique_ptr<Command> NewStateCommand();
std::unique_ptr<Command> NewHashCommand();
std::unique_ptr<Command> NewSnapshotCommand();
std::unique_ptr<Command> NewBackupCommand();
std::unique_ptr<Command> NewPassesCommand();
std::unique_ptr<Command> NewHealthCommand();
std::unique_ptr<Command> NewLogCommand();
std::unique_ptr<Command> NewVerifyCommand();
std::unique_ptr<Command> NewTokenCommand();
std::unique_ptr<Command> NewCompletionCommand();

inline std::vector<std::unique_ptr<Command>> AllCommands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(NewRateCommand());
  commands.push_back(NewImportCommand());
  commands.push_back(NewRecommendCommand());
  commands.push_back(NewPredictCommand());
  commands.push_back(NewTopicsCommand());
  commands.push_back(NewFactorsCommand());
  commands.push_back(NewStateCommand());
  commands.push_back(NewHealthCommand());
  commands.push_back(NewHashCommand());
  commands.push_back(NewSnapshotCommand());
  commands.push_back(NewBackupCommand());
  commands.push_back(NewPassesCommand());
  commands.push_back(NewLogCommand());
  commands.push_back(NewVerifyCommand());
  commands.push_back(NewTokenCommand());
  commands.push_back(NewCompletionCommand());
  return commands;
}

}  // namespace factord
