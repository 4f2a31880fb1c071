//! What a container inherits from its image.

use api_types::{Config, ImageConfig, Words};

/// Fills what the request left open from the image's configuration, with docker's rules: a given entry point drops
/// the image's command, lists of variables are merged by name, labels by key, ports and volumes by union.
pub(crate) fn merge(config: &mut Config, image: &ImageConfig) {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    for port in image.exposed_ports.keys() {
        config.exposed_ports.entry(port.clone()).or_default();
    }
    merge_env(&mut config.env, image.env.as_deref().unwrap_or_default());
    for (key, value) in image.labels.iter().flatten() {
        config
            .labels
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    merge_command(config, image);
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    config.volumes = config.volumes.take().filter(|volumes| !volumes.is_empty());
    if let Some(volumes) = image.volumes.as_ref().filter(|volumes| !volumes.is_empty()) {
        config
            .volumes
            .get_or_insert_default()
            .extend(volumes.iter().map(|(path, empty)| (path.clone(), *empty)));
    }
    if config.stop_signal.is_empty() {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    super::health::merge(config, image);
}

/// An entry point of one empty string resets the image's.
fn merge_command(config: &mut Config, image: &ImageConfig) {
    let words = |words: &Option<Words>| {
        words
            .as_ref()
            .map(|words| words.0.clone())
            .unwrap_or_default()
    };
    if words(&config.entrypoint).is_empty() {
        if words(&config.cmd).is_empty() {
            config.cmd = image.cmd.clone();
            config.args_escaped = image.args_escaped;
        }
        if config.entrypoint.is_none() {
            config.entrypoint = image.entrypoint.clone();
        }
    }
    if config
        .entrypoint
        .as_ref()
        .is_some_and(|words| words.0.len() == 1 && words.0[0].is_empty())
    {
        config.entrypoint = None;
    }
}

fn merge_env(env: &mut Option<Vec<String>>, image: &[String]) {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let own = env.get_or_insert_default();
    for variable in image {
        let wanted = name(variable);
        if !own.iter().any(|have| name(have) == wanted) {
            own.push(variable.clone());
        }
    }
}

/// Path and arguments of the first process: entry point followed by command.
pub(crate) fn command(config: &Config) -> Vec<String> {
    let words = |words: &Option<Words>| {
        words
            .as_ref()
            .map(|words| words.0.clone())
            .unwrap_or_default()
    };
    let mut command = words(&config.entrypoint);
    command.extend(words(&config.cmd));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Words> {
        Some(Words(words.iter().map(|&word| word.to_owned()).collect()))
    }

    fn image() -> ImageConfig {
        ImageConfig {
            env: Some(vec!["PATH=/bin".into(), "A=image".into()]),
            entrypoint: words(&["/entry"]),
            cmd: words(&["image-command"]),
            ..Default::default()
        }
    }

    #[test]
    fn an_entry_point_drops_the_command_of_the_image() {
        let mut config = Config {
            entrypoint: words(&["/mine"]),
            ..Default::default()
        };
        merge(&mut config, &image());
        assert_eq!(command(&config), ["/mine"]);
    }

    #[test]
    fn a_command_keeps_the_entry_point_of_the_image() {
        let mut config = Config {
            cmd: words(&["mine"]),
            ..Default::default()
        };
        merge(&mut config, &image());
        assert_eq!(command(&config), ["/entry", "mine"]);
    }

    #[test]
    fn an_empty_entry_point_resets_the_one_of_the_image() {
        let mut config = Config {
            entrypoint: words(&[""]),
            cmd: words(&["sh"]),
            ..Default::default()
        };
        merge(&mut config, &image());
        assert_eq!(command(&config), ["sh"]);
    }

    #[test]
    fn variables_are_merged_by_name_and_the_request_wins() {
        let mut config = Config {
            env: Some(vec!["A=mine".into()]),
            ..Default::default()
        };
        merge(&mut config, &image());
        assert_eq!(config.env.unwrap(), ["A=mine", "PATH=/bin"]);
    }
}
