//! The room of the builder: Dockerfile, graph, cache, run. Empty today; `/build` answers with a sentence.
