"""The dispatcher as a job of Apache Flink 2.2; the only room that imports PyFlink."""
