//! The two container runtimes. They differ in what they can do, in how they are asked, in how a container is
//! started and in how its namespaces become known.

mod builtin;
pub(crate) mod context;
mod enroot;
pub(crate) mod verbs;

use super::error::StepError;
use super::image::Image;
use super::plan::Plan;
use crate::options::NameFlag;
use crate::root::runtime::Runtime;
use crate::root::shared::Channels;
use context::{Context, Resumed, StoredImage, Target};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

impl Runtime {
    /// The file that tells it how to start the step's container, where it needs one.
    pub(crate) fn configuration_file(&self, plan: &Plan) -> Option<PathBuf> {
        match self {
            Runtime::Builtin(_) => None,
            Runtime::Enroot(_) => Some(enroot::conf::path(plan)),
        }
    }

    /// Starts `target` and has its descriptors sent.
    pub(crate) fn start(
        &self,
        context: Context<'_>,
        target: Target<'_>,
        channels: Channels<'_>,
    ) -> Result<(), StepError> {
        match self {
            Runtime::Builtin(command) => builtin::start(command, context, target, channels),
            Runtime::Enroot(_) => enroot::start(self, context, target, channels),
        }
    }

    /// Joins or starts the container `plan.name`, which is thought to exist, as `flag` says: in
    /// one go, without a list of what there is. `None` where the list has to be asked for.
    pub(crate) fn resume(
        &self,
        context: Context<'_>,
        flag: NameFlag,
        channels: Channels<'_>,
    ) -> Result<Option<Resumed>, StepError> {
        match self {
            Runtime::Builtin(command) => builtin::resume(command, context, flag, channels),
            Runtime::Enroot(_) => Ok(None),
        }
    }

    /// A remote image in the runtime's own store; `None` where there is none to have.
    pub(crate) fn pull(
        &self,
        context: Context<'_>,
        image: &Image,
        broker: Option<BorrowedFd<'_>>,
    ) -> Result<Option<StoredImage>, StepError> {
        match self {
            Runtime::Builtin(command) => builtin::pull(command, context, image, broker),
            Runtime::Enroot(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::runtime::RuntimeCommand;

    #[test]
    fn only_enroot_leaves_a_file_to_be_removed() {
        use crate::config::Config;
        use crate::options::Options;
        use crate::root::job::Job;
        use crate::root::user::Credentials;
        let job = Job {
            user: Credentials { uid: 1000, gid: 1000, groups: vec![] },
            job_id: 42,
            step_id: spank_bindings::StepId(7),
            local_tasks: 1,
            total_tasks: 1,
            pinned: None,
            privileged: false,
        };
        let plan = Plan::new(&Config::default(), &Options::default(), &job, None).unwrap();
        let command = || RuntimeCommand { name: "x", program: PathBuf::new() };
        let file = Runtime::Enroot(command()).configuration_file(&plan);
        assert_eq!(file, Some("/run/pyxis/1000/42.7.conf".into()));
        assert_eq!(Runtime::Builtin(command()).configuration_file(&plan), None);
    }
}
